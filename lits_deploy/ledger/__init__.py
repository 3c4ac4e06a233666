"""The ledger: what a run has done, in SQLite, one transaction a batch. It is the truth; result tables are copies.

    meta    schema, identity of the run, run id
    file    one row a scan: path, size, mtime → status (pending, ok, failed), reason, SHA-256, window, series;
            part: the folder or zip directly below the base that it lies in, none if it lies there itself; a random
            number where paths are hashed (`Ledger.adopt`, hidden)
    slice   one row a slice of it: index → label (none where the answer is `abstain`), calibrated probabilities,
            position, or the reason why not
    series  one row a series: its name and its study's (pseudonyms unless the user identifies), what its header says
    library versions of the libraries that answered; a file's row leads to the ones that answered all of its slices
    mask    labels of a segmented slice, compressed (`segmentation`)
    picture a small picture of a suspicious slice with its contours (`report.pictures`), for a page without the scans
    beside  only where a network sees neighbouring slices: what stood beside a file (`ledger.beside`)
    ctime   when a file's inode last changed, of those that are known (`ledger.altered`)
    found   (temporary) what this start's discovery saw: `adopt` makes it the list of files, `pending` reads it

Rows are kept with digests (`ledger.digest`), and checked before a run goes on and before tables are made of them.
A file is ok only together with all of its slices. In WAL mode with synchronous=NORMAL the ledger survives kill -9;
a power cut may cost the last batches, which are then done again. Knows nothing about bundles or networks, and stores
what it is given: `pipeline.naming` decides what may be written of identifiers and paths.
"""

from __future__ import annotations

from lits_deploy.ledger.file import FILE_NAME
from lits_deploy.ledger.rows import (
    ABOUT,
    ABSTAINED,
    FAILED,
    NAMES,
    OK,
    PENDING,
    PICTURES,
    RAN,
    RUN,
    AnsweredRow,
    Counts,
    FileRow,
    PartRow,
    PendingFile,
    PictureRow,
    ResultRow,
    SeriesRow,
    SliceRow,
    SourceRow,
)
from lits_deploy.ledger.schema import SCHEMA
from lits_deploy.ledger.store import Ledger

__all__ = [
    "ABOUT",
    "ABSTAINED",
    "FAILED",
    "FILE_NAME",
    "NAMES",
    "OK",
    "PENDING",
    "PICTURES",
    "RAN",
    "RUN",
    "SCHEMA",
    "AnsweredRow",
    "Counts",
    "FileRow",
    "Ledger",
    "PartRow",
    "PendingFile",
    "PictureRow",
    "ResultRow",
    "SeriesRow",
    "SliceRow",
    "SourceRow",
]
