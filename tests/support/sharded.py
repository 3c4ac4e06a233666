"""The same scans on one machine, and planned, done shard by shard and merged: what tests compare."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from folder_runs import SALT, fields_of
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.run import run_folder
from lits_deploy.report.after import reporter
from lits_deploy.report.peaks import Peaks
from lits_deploy.scans.discover import Discovery
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.merge import MergeOptions, MergeSummary, merge
from lits_deploy.sharding.plan import PlanSummary, plan_scans
from lits_deploy.sharding.plan_record import PlanRequest
from lits_deploy.sharding.shard import ShardSummary, ShardWork, run_shard
from pictures import encoded, folder_of_slices, grey_pixels
from scan_files import body, ct, nifti, stack

OPTIONS = ClassifyOptions(salt=SALT, formats=("csv", "jsonl"), batch_size=4)
TABLES = ("slices.csv", "slices.jsonl", "studies.csv", "studies.jsonl")

_TIME = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC( to \d{4}-\d\d-\d\d \d\d:\d\d UTC)?")


def mixed_scans(folder: Path, size: int = 64) -> Path:
    """Pictures, DICOM series (one of them sent twice, and once more as a series of its own), volumes, a zip of some of
    it, and what fails or is excluded."""
    scans = folder_of_slices(folder, 12, size=size)
    (scans / "study-0" / "empty.png").write_bytes(b"")
    (scans / "elsewhere.dcm").symlink_to("/dev/null")
    for name, patient, uid in (("p1", 1, 1), ("p2", 2, 2), ("p2 again", 2, 2), ("p2 as another", 2, 3)):
        (scans / name).mkdir()
        for n in range(6):
            (scans / name / f"IM{n * 7 % 10}").write_bytes(ct_slice(patient, uid, n))
    (scans / "p1" / "IM9").write_bytes(ct_slice(1, 1, 6)[:900])
    (scans / "p1" / "knee").write_bytes(ct_slice(1, 1, 7, BodyPartExamined="KNEE"))
    (scans / "volume.nii").write_bytes(nifti(stack(7)))
    with zipfile.ZipFile(scans / "more.zip", "w") as archive:
        for n in range(5):
            archive.writestr(f"series/{n}", ct_slice(3, 1, n))
            archive.writestr(f"pictures/{n}.png", encoded(grey_pixels(size, 50 + n)))
        archive.writestr("volume.nii", nifti(stack(3)))
    return scans


def ct_slice(patient: int, uid: int, n: int, *, more: int = 0, **values: Any) -> bytes:
    """Slice n of a series; its uid decides names, its patient the pixels, which are brighter by `more` HU."""
    attributes = {
        "PatientID": f"patient {patient}",
        "StudyInstanceUID": f"2.25.{patient}",
        "SeriesInstanceUID": f"2.25.{patient}0{uid}",
        "SOPInstanceUID": f"2.25.{patient}0{uid}0{n}",
        "InstanceNumber": n,
        "ImagePositionPatient": [-160, -160, 30 + 5 * n],
    }
    return ct(body(10 * patient + n) + (150 if n in (2, 3) else 0) + more, **attributes, **values)


def plan(bundle: Bundle, scans: Path, job: Path | str, most: int, **options: Any) -> PlanSummary:
    """Plan scans into JOB with shards of that many slices."""
    asked = replace(OPTIONS, **options)
    listing = Discovery([scans], follow_links=asked.follow_links, hidden=asked.pseudonymous)
    what = PlanRequest(bundle=bundle, listing=listing, roots=[scans], options=asked, shard_slices=most)
    return plan_scans(what, JobFolder(str(job)))


def work_on(bundle: Bundle, job: Path | str, **own: Any) -> ShardWork:
    """How a shard is done here; options, hooks and fields of `ShardWork` may be mixed."""
    fields = {**fields_of(ShardWork, own), "hooks": RunHooks(**fields_of(RunHooks, own))}
    if isinstance(job, Path):
        fields.setdefault("scratch_root", job.parent / "scratch")
    return ShardWork(**{"bundle": bundle, "options": replace(OPTIONS, **own), **fields})


def do_shards(bundle: Bundle, job: Path | str, numbers: Iterable[int] | None = None, **own: Any) -> list[ShardSummary]:
    """Do these shards, or all that are missing."""
    folder = JobFolder(str(job))
    numbers = [entry.number for entry in folder.missing(folder.read())] if numbers is None else numbers
    return [run_shard(folder, number, work_on(bundle, job, **own)) for number in numbers]


def merged(job: Path | str, out: Path, **arguments: Any) -> MergeSummary:
    """`merge`; options of both kinds, hooks and arguments may be mixed."""
    options, asked = replace(OPTIONS, **fields_of(ClassifyOptions, arguments)), fields_of(MergeOptions, arguments)
    hooks = RunHooks(**fields_of(RunHooks, arguments))
    return merge(JobFolder(str(job)), out, options=options, asked=MergeOptions(**asked), hooks=hooks, **arguments)


def one_machine(bundle: Bundle, scans: Path, out: Path, **options: Any) -> RunSummary:
    """The same in one run."""
    asked = replace(OPTIONS, **options)
    hooks = RunHooks(keep=Peaks, finish=reporter(bundle, asked))
    return run_folder(bundle, [scans], out, options=asked, hooks=hooks)


def page(out: Path) -> bytes:
    """report.html without the times at which slices were answered."""
    return _TIME.sub(b"TIME", (out / "report.html").read_bytes())


def assert_same(one: Path, other: Path, tables: Iterable[str] = TABLES) -> None:
    """Tables and page are the same, byte for byte."""
    for name in tables:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert page(one) == page(other)
