"""Files in, slices or the reason why not out: decoding in processes that may hang, swell or die.

`decoding.Decoding` is the entry, one iterator; who uses it sees neither processes nor attempts, leases or deadlines.
Nothing is imported here, because every worker imports this package on its way to `decode.worker`. Of ledgers and
networks it knows but the row that names a file.

    decoding    jobs in; batches, ends of files and new beginnings out, in one thread that waits on pipes
    job         one file to decode
    settings    what decoding may take, and every number of it that trades speed
    pool        the parent's side of the processes: hand out, time out, restart, try again
    process     one of them as the operating system sees it
    worker      the child's side: read, decode, write into the slot, answer;  one_slice: files of one slice
    slots       shared memory, and the book of who may write where
    wakeup      how another thread or a signal gets the loop's attention
"""
