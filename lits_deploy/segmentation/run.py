"""`segment_folder`: scans through a U-Net (`pipeline.run.run_folder`), then masks and volumes from the ledger.

Masks are written when every slice is in the ledger, and anew at the end of every such run; a run that is stopped
before leaves those of the last one, if they are of the same inputs, else none. A mask that cannot be made is a row of
the mask table with its reason.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from lits_deploy.bundle import Bundle
from lits_deploy.decode.decoding import StoppedError
from lits_deploy.errors import UserError
from lits_deploy.events.emit import phase
from lits_deploy.ledger import RUN, Ledger, VolumeRow
from lits_deploy.masks import unpacked
from lits_deploy.pipeline.context import RunContext, RunHooks
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.output import MASKS as FOLDER
from lits_deploy.pipeline.output import MASKS_MARK
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.results import MASKS, PROVENANCE, VOLUMES
from lits_deploy.runtime import Runtime
from lits_deploy.scans.listing import Listing
from lits_deploy.segmentation import MASK_FORMATS, dicom_seg
from lits_deploy.segmentation.dicom_seg import Algorithm
from lits_deploy.segmentation.folder import MaskFolder, check_ours
from lits_deploy.segmentation.geometry import MaskGeometry
from lits_deploy.segmentation.sources import MaskSource, chunks, read_headers, sources
from lits_deploy.segmentation.volumes import Counted, volumes
from lits_deploy.segmentation.write import MaskRow, NiftiWriter, PngWriter, Segmented, SegWriter, Writer
from lits_deploy.storage import PathOrUrl

_MASKS_OF = "masks"  # what the ledger notes: the run id that the folder of masks is of


@dataclass(frozen=True, kw_only=True)
class SegmentSummary:
    """How a segmentation ended. run: its slices. masks: files by format; slices: with a mask, by format.

    without: reasons of slices that were segmented and have no mask in some format, the most frequent first.
    written: the masks are those of this run; False if it was stopped before.
    """

    run: RunSummary
    masks: Mapping[str, int]
    slices: Mapping[str, int]
    without: Mapping[str, int]
    written: bool


def segment_folder(
    bundle: Bundle,
    scans: Sequence[PathOrUrl] | Listing,
    out: Path,
    *,
    masks: Sequence[str] = ("png",),
    options: ClassifyOptions | None = None,
    runtime: Runtime | None = None,
    hooks: RunHooks | None = None,
) -> SegmentSummary:
    """Segment scans; write tables, volumes and masks to `out`.

    masks: formats out of MASK_FORMATS; the others as in `pipeline.run.run_folder`, and so is what is raised. Masks are
    what follows the run: hooks has no `finish`.
    """
    options, hooks = options or ClassifyOptions(), hooks or RunHooks()
    check_masks(masks, options, out)
    book = MaskBook(bundle, out, masks, hooks.stop)
    hooks = replace(hooks, finish=book.write)
    return book.summary(run_folder(bundle, scans, out, task="segment", options=options, runtime=runtime, hooks=hooks))


def check_masks(masks: Sequence[str], options: ClassifyOptions, out: Path) -> None:
    """Raise UserError for what cannot work, before any work."""
    if not masks or (unknown := sorted(set(masks) - set(MASK_FORMATS))):
        what = f"`{', '.join(unknown)}` is not a format of masks." if masks else "No format of masks was named."
        raise UserError(what, fix=f"use {', '.join(MASK_FORMATS)}")
    if "dicom-seg" in masks:
        if not options.identify:
            raise UserError(
                "A DICOM SEG names its patient, its study and the slices that it lies on, or no PACS can place it.",
                fix="--identify, or --masks png,nifti",
            )
        dicom_seg.check_installed()
    check_ours(out / FOLDER)


@dataclass
class MaskBook:
    """Writes what a segmentation adds to a run, and counts it. masks: formats that `check_masks` takes."""

    bundle: Bundle
    out: Path
    masks: Sequence[str]
    stop: Stop
    files: dict[str, set[str]] = field(default_factory=dict)
    slices: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)
    written: bool = False

    def write(self, finished: RunContext) -> Sequence[Path]:
        """Volumes and masks of a run that has ended; the paths of what was written."""
        ledger = finished.output.ledger
        provenance = json.loads(ledger.noted(RUN) or "{}")["provenance"]
        constant = tuple(provenance[name] for name in PROVENANCE)
        kinds = finished.output.tables_there()
        rows = [(*row, *constant) for row in self._volume_rows(ledger)]
        paths = [VOLUMES.write(self.out, kind, rows) for kind in kinds]
        if ledger.counts().pending or self.stop.requested:
            self._drop_older(ledger)
            return paths
        phase("masks")
        found = self._write_masks(finished)
        if found is None:
            self._drop_older(ledger)
            return paths
        ledger.note(_MASKS_OF, ledger.run_id)
        self.written = True
        table = [(*row, *constant) for row in _mask_rows(found, ledger.volumes())]
        return [*paths, *(MASKS.write(self.out, kind, table) for kind in kinds), self.out / FOLDER]

    def summary(self, run: RunSummary) -> SegmentSummary:
        """What it came to."""
        return SegmentSummary(
            run=run,
            masks={name: len(files) for name, files in self.files.items()},
            slices=self.slices,
            without=dict(self.without.most_common()),
            written=self.written,
        )

    def _write_masks(self, finished: RunContext) -> list[tuple[str, MaskRow]] | None:
        """Every slice in every format, and its row; None if asked to stop meanwhile."""
        ledger, size = finished.output.ledger, self.bundle.manifest.contract.size
        writers = self._writers(finished, ledger)
        self.files = {writer.name: set() for writer in writers}
        found: list[tuple[str, MaskRow]] = []
        try:
            with MaskFolder(self.out) as folder:
                for lot in chunks(sources(ledger)):
                    needed = (
                        row
                        for source in lot
                        if any(writer.needs(source) for writer in writers)
                        for row in source.slices
                    )
                    headers = read_headers(needed, finished)
                    for source in lot:
                        if self.stop.requested:
                            raise StoppedError
                        series = Segmented(source=source, headers=headers, ledger=ledger, size=size)
                        for writer in writers:
                            for row in writer.write(series, folder):
                                found.append((writer.name, row))
                                self._count(writer.name, row)
        except StoppedError:
            return None
        return found

    def _count(self, name: str, row: MaskRow) -> None:
        if row.mask is not None:
            self.files[name].add(row.mask)
            self.slices[name] += row.reason is None
        elif row.row.masked:
            self.without[f"{name}: {row.reason}"] += 1

    def _writers(self, finished: RunContext, ledger: Ledger) -> list[Writer]:
        def stamp(uid: str) -> datetime:
            """The time at which an object was first made, so that made again it is the same."""
            noted = ledger.noted(f"seg {uid}")
            if noted is None:
                noted = datetime.now().isoformat(timespec="seconds")
                ledger.note(f"seg {uid}", noted)
            return datetime.fromisoformat(noted)

        algorithm = Algorithm(
            name=str(self.bundle.manifest.model.get("name", "U-Net")),
            bundle=self.bundle.sha256,
            artifact=finished.artifact.name,
        )
        made: dict[str, Callable[[], Writer]] = {
            "png": PngWriter,
            "nifti": NiftiWriter,
            "dicom-seg": lambda: SegWriter(algorithm=algorithm, stamp=stamp),
        }
        return [made[name]() for name in MASK_FORMATS if name in self.masks]

    def _drop_older(self, ledger: Ledger) -> None:
        """Take away masks and their table if they are of other inputs than the other tables."""
        if ledger.noted(_MASKS_OF) == ledger.run_id:
            return
        for kind in ("csv", "parquet", "jsonl"):
            MASKS.path(self.out, kind).unlink(missing_ok=True)
        if (self.out / FOLDER / MASKS_MARK).exists():
            shutil.rmtree(self.out / FOLDER, ignore_errors=True)

    def _volume_rows(self, ledger: Ledger) -> Iterator[tuple[Any, ...]]:
        """The rows of the volume table."""
        size = self.bundle.manifest.contract.size
        for source in sources(ledger):
            if source.row is None:
                continue
            info, identifiers = source.info, source.info.get("identifiers")
            spacing = source.geometry.get("spacing_mm")
            held = volumes(list(_counted(source, ledger, size)), source.kind, spacing)
            yield (
                source.row.study,
                source.row.name,
                source.arranged.get("part") or None,
                source.kind,
                info.get("orientation"),
                sum(not row.copy for row in source.slices),
                len(source.segmented),
                *(spacing or (None, None)),
                held.slice_mm,
                held.liver_ml,
                held.tumour_ml,
                held.reason,
                None if identifiers is None else json.dumps(identifiers, ensure_ascii=False, sort_keys=True),
            )


def _counted(source: MaskSource, ledger: Ledger, size: int) -> Iterator[Counted]:
    """The segmented slices of a volume in order."""
    facts, in_mm = source.geometry, source.arranged.get("in_mm")
    geometry = MaskGeometry(size=size, rows=facts["rows"], columns=facts["columns"], reorientation=facts["turn"])
    for row in source.segmented:
        position = row.position if in_mm else None
        if source.kind == "picture":  # of which no volume is known
            yield Counted(position=position, liver=0, tumour=0)
            continue
        data = ledger.mask(row.file, row.idx)
        assert data is not None
        mask = unpacked(data, size)
        yield Counted(position=position, liver=geometry.count(mask, 1), tumour=geometry.count(mask, 2))


def _mask_rows(found: Sequence[tuple[str, MaskRow]], volumes: Mapping[int, VolumeRow]) -> Iterator[tuple[Any, ...]]:
    """The rows of the mask table without provenance, by path, index and format."""

    def order(pair: tuple[str, MaskRow]) -> tuple[str, int, str, str, int]:
        name, (row, mask, frame, _) = pair
        return row.path, row.idx if row.path else 0, name, mask or "", frame or 0

    for name, (row, mask, frame, reason) in sorted(found, key=order):
        of = None if row.volume is None else volumes[row.volume]
        where = (row.path, row.idx) if row.path else (None, None)
        part = None if of is None else json.loads(of.arranged)["number"]
        yield (*where, of and of.study, of and of.name, part, name, mask, frame, reason)
