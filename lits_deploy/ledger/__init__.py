"""The ledger: what a run has done, in SQLite, one transaction a batch. It is the truth; result tables are copies.

    meta    schema, identity of the run, run id
    file    one row a scan: path, size, mtime → status (pending, ok, failed), reason, SHA-256, window, header;
            part: the folder or zip directly below the base that it lies in, none if it lies there itself; a random
            number where paths are hashed (`Ledger.adopt`, hidden)
    slice   one row a slice of it: index → label (none where the network is unsure), calibrated probabilities, or the
            reason why not; what its header says of where it lies, and a checksum of its pixels
    header  what the headers of files say of their series: tokens of UIDs and patient, geometry; files share rows
    library versions of the libraries that answered; a file's row leads to the ones that answered all of its slices
    mask    labels of a segmented slice, compressed (`segmentation`)
    look    how a slice looks, in numbers, of one in four (`scans.appearance`): what `drift` compares series by
    second  what a pair says of a slice besides: its U-Net's pixels of liver and tumour, the odds of a lesion by both
    picture a small picture of a suspicious slice with its contours (`report.pictures`), for a page without the scans
    beside  only where answers depend on other files, too: a file's neighbours, as a digest (`ledger.neighbours`)
    ctime   when a file's inode last changed, of those that are known (`ledger.altered`)
    volume, ranked  (temporary) which slices belong together, and in which order (`ledger.ranks`)
    found   (temporary) what this start's discovery saw: `adopt` makes it the list of files, `pending` reads it

Rows are kept with digests (`ledger.digest`), and checked before a run goes on and before tables are made of them.
A file is ok only together with all of its slices. In WAL mode with synchronous=NORMAL the ledger survives kill -9;
a power cut may cost the last batches, which are then done again. Knows nothing about bundles or networks, and stores
what it is given: `pipeline.naming` decides what may be written of identifiers and paths.
"""

from __future__ import annotations

from lits_deploy.ledger.file import FILE_NAME as FILE_NAME
from lits_deploy.ledger.rows import ABOUT as ABOUT
from lits_deploy.ledger.rows import ABSTAINED as ABSTAINED
from lits_deploy.ledger.rows import EXCLUDED as EXCLUDED
from lits_deploy.ledger.rows import FAILED as FAILED
from lits_deploy.ledger.rows import NAMES as NAMES
from lits_deploy.ledger.rows import OK as OK
from lits_deploy.ledger.rows import PENDING as PENDING
from lits_deploy.ledger.rows import PICTURES as PICTURES
from lits_deploy.ledger.rows import RAN as RAN
from lits_deploy.ledger.rows import RUN as RUN
from lits_deploy.ledger.rows import AnsweredRow as AnsweredRow
from lits_deploy.ledger.rows import EntryRow as EntryRow
from lits_deploy.ledger.rows import FileCounts as FileCounts
from lits_deploy.ledger.rows import FileRow as FileRow
from lits_deploy.ledger.rows import HeaderRow as HeaderRow
from lits_deploy.ledger.rows import PendingFile as PendingFile
from lits_deploy.ledger.rows import PictureRow as PictureRow
from lits_deploy.ledger.rows import ResultRow as ResultRow
from lits_deploy.ledger.rows import SecondRow as SecondRow
from lits_deploy.ledger.rows import SliceRow as SliceRow
from lits_deploy.ledger.rows import SourceRow as SourceRow
from lits_deploy.ledger.rows import VolumeRow as VolumeRow
from lits_deploy.ledger.schema import SCHEMA as SCHEMA
from lits_deploy.ledger.store import Ledger as Ledger
