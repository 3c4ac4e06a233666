"""What commands print of a run that has ended: classes, failures, masks, speed, and where the results are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lits_deploy import DISCLAIMER

if TYPE_CHECKING:
    from lits_deploy.pipeline.options import RunSummary
    from lits_deploy.segmentation.run import SegmentSummary

_REASONS_SHOWN = 5


def print_summary(summary: RunSummary, *, done: str | None = None) -> None:
    """Classes, failures, speed (or, of what was not answered here, what was `done`), and where the results are."""
    from lits_deploy.cli.console import console, print_others, reasons_table, table

    rows = [(name, f"{n:,}") for name, n in summary.classes.items()]
    if summary.abstained:
        rows.append(("abstained (unsure)", f"{summary.abstained:,}"))
    if summary.excluded:
        rows.append(("excluded", f"{summary.excluded:,}"))
    if summary.copies:
        rows.append(("copies, not counted", f"{summary.copies:,}"))
    table(("class", "slices"), rows, right=("slices",))
    for what, unit, count, reasons in (
        ("excluded", "slices", summary.excluded, summary.excluded_reasons),
        ("failed", "rows", summary.failed, summary.reasons),
    ):
        if count:
            reasons_table(f"{what} ({count:,})", unit, reasons, count=count, shown=_REASONS_SHOWN)
    if summary.acknowledged:
        console.print(f"{summary.acknowledged:,} of them are acknowledged (--ignore), {summary.news:,} are new.")
    console.print("")
    speed = f": {summary.slices_per_s:,.1f} slices/s" if summary.now else ""
    earlier = f", {summary.slices - summary.now:,} before" if summary.resumed else ""
    console.print(done or f"{summary.now:,} slices in {summary.seconds:,.1f} s on {summary.device}{speed}{earlier}")
    if summary.resumed and (summary.removed or summary.added):
        console.print(f"Since the previous run, {summary.removed:,} files are gone and {summary.added:,} are new.")
    print_others(summary.others)
    for path in (*summary.tables, summary.run_json):
        console.print(f"→ {path}")
    if summary.stopped:
        console.print(f"Stopped with {summary.missing:,} files to go: the same command goes on from here.")
    console.print(DISCLAIMER)


def run_document(out: str | None, summary: RunSummary, segmented: SegmentSummary | None = None) -> dict[str, Any]:
    """What `--json` prints of a run: OUT and its files by the user's path, the masks, and run.json."""
    from lits_deploy.run_json import read_run_json

    location, folder = (out or "results").rstrip("/"), summary.run_json.parent
    files = [f"{location}/{path.relative_to(folder).as_posix()}" for path in (*summary.tables, summary.run_json)]
    masks = {} if segmented is None else {"masks": masks_document(segmented)}
    return {"out": location, "files": files, **masks, "run": read_run_json(summary.run_json)}


def masks_document(summary: SegmentSummary) -> dict[str, Any]:
    """written: the masks are those of this run. files, slices: by format. without: reasons of slices without a mask."""
    return {
        "written": summary.written,
        "files": dict(summary.masks),
        "slices": dict(summary.slices),
        "without": dict(summary.without),
    }


def print_masks(summary: SegmentSummary) -> None:
    """How many masks there are, and why slices that were segmented have none."""
    from lits_deploy.cli.console import console, table

    if not summary.written:
        console.print("Stopped before the masks were written: the same command goes on from here.")
    rows = [(name, f"{files:,}", f"{summary.slices.get(name, 0):,}") for name, files in summary.masks.items()]
    if summary.written:
        table(("masks", "files", "slices"), rows, right=("files", "slices"))
        console.print("")
    if summary.without:
        reasons = list(summary.without.items())[:_REASONS_SHOWN]
        table(("segmented, but without a mask", "slices"), [(why, f"{n:,}") for why, n in reasons], right=("slices",))
        console.print("")
