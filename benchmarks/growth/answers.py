"""Ledgers of shards with answers that were made up, published as if a network had given them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.growth import synthetic_scans
from lits_deploy import __version__
from lits_deploy.decode.job import DecodeJob
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.ledger import NAMES, OK, RAN, FileRow, Ledger, PendingFile, SliceRow
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.scans import SeriesHeader
from lits_deploy.sharding.job_folder import JobFolder, JobRecord, ShardEntry
from lits_deploy.sharding.job_options import names_of
from lits_deploy.sharding.shard_record import MANIFEST, SHARD, ShardRecord

_LOT = 1000
_INFO = RuntimeInfo(name="onnxruntime", version="0", device="cpu", precision="fp32", providers=())


def publish(job: JobFolder, record: JobRecord, entry: ShardEntry, options: ClassifyOptions) -> None:
    """Answer a shard, and publish its ledger."""
    naming = Naming(names=names_of(options))
    folder = Path(tempfile.mkdtemp(prefix="growth-"))
    try:
        with Ledger(folder) as ledger:
            ledger.stage((row.found for row in job.rows(entry)), naming.path)
            ledger.note(NAMES, naming.names.mark)
            identity = {
                "bundle": record.bundle,
                "artifact": record.artifact,
                "precision": "fp32",
                "contract": record.contract,
                "runtime": _INFO.name,
                "device": _INFO.device,
                "abstain_below": None,
            }
            ledger.adopt(identity, naming.names.base(record.base))
            ledger.answer_with({"lits-deploy": __version__})
            answered = _answered(naming, ledger.pending(_LOT))
            while lot := list(islice(answered, _LOT)):
                ledger.record([one for one, _ in lot], [one for _, one in lot])
            shard_record = ShardRecord(
                job=record.id,
                number=entry.number,
                digest=entry.digest,
                info=_INFO,
                hardware={"processor": "made up"},
                finished="2026-01-01T00:00:00+00:00",
            )
            ledger.note(SHARD, shard_record.to_text())
            ledger.note(MANIFEST, synthetic_scans.manifest())
            when = "2026-01-01T00:00:00+00:00"
            ledger.note(RAN, canonical_json({"first": when, "last": when, "scans": [], "machine": "made up"}))
            ledger.copy_to(folder / "copy.sqlite")
        job.publish(entry, folder / "copy.sqlite")
    finally:
        shutil.rmtree(folder)


def _answered(naming: Naming, files: Iterator[PendingFile]) -> Iterator[tuple[SliceRow, FileRow]]:
    series = SeriesHeader(kind="dicom")
    for row in files:
        job = DecodeJob.of(row, str)
        series, header = synthetic_scans.said(row.source, series)
        number = int(sha256_bytes(row.source.encode())[:15], 16)  # of this file alone, whichever shard it is in
        p2 = (number % 9973) / 10_000
        p1 = (1 - p2) * 0.75
        label = max(range(3), key=(1 - p1 - p2, p1, p2).__getitem__)
        facts = naming.facts(job, header)
        yield (
            SliceRow(row.file, 0, OK, None, label, 1 - p1 - p2, p1, p2, facts=facts, pixels=number),
            FileRow(row.file, OK, None, f"{number:064x}", "-160…240 HU", naming.header(job, series)),
        )
