"""Which slices are a volume, and the rank of each in it: what `series.arrange` says of the ledger's facts.

    volume  (temporary) one row a volume: names of series and study, and what is to be said of it
    ranked  (temporary) of every slice, and every failed file, its volume and rank; original: the file it is a copy of

One series at a time is in memory, so whoever wants rows in order has SQLite sort them by rank. A name is a hash of
token, patient and geometry: it stays what it was when other slices come.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.ledger import schema
from lits_deploy.ledger.rows import VolumeRow
from lits_deploy.series import Arranged, Geometry, SliceFacts, SliceHeader, arrange

_NAME_DIGITS = 12


class Ranks:
    """Part of an open ledger. `settle` before anything that is sorted by rank is read."""

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db, self._transaction = db, transaction

    def settle(self, *, named: bool) -> None:
        """Arrange all slices of files that are done. named: paths are names, not hashes of them."""
        with self._transaction():
            self._run(schema.EMPTY_RANKS)
            shared = {study for (study,) in self._db.execute(schema.SHARED_STUDIES)}
            count = 0
            for rows, arranged in by_token(self._db.execute(schema.FACTS), named=named):
                for each in arranged:
                    first = rows[[*each.slices, *each.failed][0]]
                    about = each.patient, not each.doubts, len(each.slices), first[5]
                    volume = (count, *_volume(first, each, shared), *about)
                    self._db.execute("INSERT INTO volume VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", volume)
                    self._db.executemany("INSERT INTO ranked VALUES (?, ?, ?, ?, ?, ?, ?)", _ranked(rows, each, count))
                    count += 1
            self._run(schema.RANK_INDICES)
            for number in range(count):
                self._mark_copy(number)

    def _run(self, script: str) -> None:
        for statement in script.split(";\n"):
            self._db.execute(statement)

    def _mark_copy(self, volume: int) -> None:
        """A volume of which another one shows every answered slice is wholly a copy: a folder or series sent twice."""
        for other, name in self._db.execute(schema.SHOWS_THE_SAME, (volume,)).fetchall():
            if self._db.execute(schema.NOT_IN_IT, (volume, other)).fetchone() is None:
                self._db.execute("UPDATE volume SET copy_of = ? WHERE id = ?", (name, volume))
                return

    def volumes(self) -> dict[int, VolumeRow]:
        """All volumes by number."""
        query = "SELECT id, name, study, info, arranged, copy_of FROM volume"
        return {number: VolumeRow(*rest) for number, *rest in self._db.execute(query)}


def by_token(
    found: Iterable[tuple[Any, ...]], *, named: bool
) -> Iterator[tuple[list[tuple[Any, ...]], list[Arranged]]]:
    """Rows of FACTS, a series UID or folder at a time, with what they are arranged to."""
    for _, group in groupby(found, key=itemgetter(0)):
        rows = list(group)
        by_folder = "by_folder" in json.loads(rows[0][3])
        yield rows, arrange([facts_of(row) for row in rows], named=named, by_folder=by_folder)


def facts_of(row: tuple[Any, ...]) -> SliceFacts:
    """A row of FACTS as `series` takes it."""
    _, _, patient, info, _, path, index, facts, content, pixels = row[:10]
    return SliceFacts(
        path=path,
        index=index,
        patient=patient,
        geometry=_geometry(info),
        header=None if facts is None else SliceHeader(**json.loads(facts)),
        content=content,
        pixels=pixels,
    )


@lru_cache(maxsize=256)
def _geometry(info: str) -> Geometry:
    values = json.loads(info).get("geometry") or {}
    pair, six, by = (values.pop(name, None) for name in ("spacing_mm", "directions", "turn"))
    return Geometry(**values, spacing_mm=pair and tuple(pair), directions=six and tuple(six), reorientation=by or "")


def _volume(first: tuple[Any, ...], each: Arranged, shared: set[str]) -> VolumeRow:
    """What is kept of a volume. first: the row of its first slice; shared: studies of several patients."""
    token, study = first[:2]
    kind = json.loads(first[3])["kind"]
    name = token  # of a folder of pictures, or of a volume in one file
    if kind == "dicom":
        name = sha256_bytes(f"{token}/{each.patient}/{each.variant}".encode())[:_NAME_DIGITS]
    if study in shared and each.patient:  # two patients under one study UID stay two
        study = sha256_bytes(f"{study}/{each.patient}".encode())[:_NAME_DIGITS]
    document = {
        "part": each.name,
        "number": each.part if each.parts > 1 else None,
        "by": "number in the name" if kind == "picture" and each.by == "instance number" else each.by,
        "in_mm": kind != "picture" and each.by in ("position", "slice location"),
        "doubts": each.doubts,
        **asdict(each.steps),
    }
    return VolumeRow(name, study, first[3], canonical_json(document))


def _ranked(rows: list[tuple[Any, ...]], each: Arranged, volume: int) -> Iterator[tuple[Any, ...]]:
    """Rows of `ranked`; a copy ranks with its original."""
    rank = {i: number for number, i in enumerate([*each.slices, *each.failed])}
    at = dict(zip(each.slices, each.coordinates, strict=True))
    for i, number in rank.items():
        yield rows[i][4], rows[i][6], volume, number, at.get(i), None, rows[i][9]
    for copy, original in each.copies.items():
        yield rows[copy][4], rows[copy][6], volume, rank[original], at[original], rows[original][4], None
