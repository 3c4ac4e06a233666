"""The end of a run, once its answers are in the ledger: tables, what follows them, run.json, and the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from lits_deploy import exits
from lits_deploy.events.emit import RUN, emit, phase
from lits_deploy.ledger import ABSTAINED, EXCLUDED
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.intake import Intake
from lits_deploy.pipeline.options import RunSummary
from lits_deploy.pipeline.output import RUN_JSON
from lits_deploy.pipeline.record import RunEffort, StartTimes, timings, write_run_json
from lits_deploy.results import write_tables


def conclude(
    run: RunContext,
    intake: Intake,
    ignored: Ignored,
    session: StartTimes,
    *,
    provenance: Mapping[str, str],
    effort: Callable[[], RunEffort],
    incomplete: int | None = None,
) -> RunSummary:
    """Write all results; what there is to say of the run.

    effort: asked once all is done. incomplete: exit code of a run that lacks a part, unless it was stopped.
    Raises OutputError where something cannot be written, LedgerError for a damaged ledger.
    """
    ledger, options, out = run.ledger, run.options, run.output.out
    ignored, idle = ignored.settled(ledger, options)
    phase("tables")
    kinds = tuple(dict.fromkeys([*options.formats, *run.output.tables_there()]))
    tables = write_tables(
        out, kinds, ledger, classes=run.contract.classes, provenance=provenance, pair=bool(run.artifact.fusion)
    )
    session.tables_written = monotonic()
    if run.hooks.finish is not None:
        tables += tuple(run.hooks.finish(run))
    run.decoding.close()
    session.finished = monotonic()
    spent = effort()
    warnings = (*_warnings(run), *spent.warnings, *_idle(run, idle))
    summary = _summary(run, intake, spent, tables, warnings, incomplete)
    write_run_json(
        run,
        summary=summary,
        session=session,
        effort=spent,
        ignored=ignored,
        identity=intake.identity,
        provenance=provenance,
    )
    emit(RUN, **_figures(summary, timings(session, summary, spent)))
    return summary


def _figures(summary: RunSummary, took: Mapping[str, Any]) -> dict[str, Any]:
    """Of the run, for logs and metrics: counts and seconds, no reasons, names or paths."""
    return {
        "files": {
            "done": summary.files,
            "missing": summary.missing,
            "added": summary.added,
            "removed": summary.removed,
        },
        "slices": summary.slices,
        "classes": dict(summary.classes),
        "abstained": summary.abstained,
        "excluded": summary.excluded,
        "failed": summary.failed,
        "acknowledged": summary.acknowledged,
        "now": summary.now,
        "per_second": round(summary.slices_per_s, 3),
        "seconds": took["wall_s"],
        "stages": took["stages"],
    }


def _warnings(run: RunContext) -> Iterator[str]:
    """What a user should know of a run, whoever answered it."""
    output, options = run.output, run.options
    if run.artifact.warning:
        yield run.artifact.warning
    if output.open_to_others():
        yield "The output folder was there before, and other users may list it; its files are private. Fix: chmod 700"
    if run.listing.own:
        yield (
            f"Folders among the scans that hold results of lits-deploy: {run.listing.own}. Their masks are passed over."
        )
    if output.salt_left_behind and options.salt is None and options.salt_file is None:
        yield "Pseudonyms are new: the salt of the earlier results is in the --ledger folder that they were made with."


def _idle(run: RunContext, idle: Sequence[int]) -> Iterator[str]:
    """idle: the patterns to ignore, by number, that match nothing; no pattern itself: it may be a patient's id."""
    if run.listing.only is None and not run.ledger.counts().pending:
        yield from (f"Number {n} of the patterns to ignore matches no failed file." for n in idle)


def _summary(
    run: RunContext,
    intake: Intake,
    spent: RunEffort,
    tables: tuple[Path, ...],
    warnings: tuple[str, ...],
    incomplete: int | None,
) -> RunSummary:
    ledger, counts = run.ledger, run.ledger.counts()
    labels = ledger.labels()
    failed, acknowledged = ledger.failed(), ledger.acknowledged()
    code = exits.of_failures(failed - acknowledged) if incomplete is None else incomplete
    return RunSummary(
        files=counts.all - counts.pending,
        failed=failed,
        acknowledged=acknowledged,
        slices=ledger.answered(),
        copies=ledger.copies(),
        abstained=ledger.slices(ABSTAINED),
        excluded=ledger.slices(EXCLUDED),
        now=spent.slices,
        missing=counts.pending,
        added=intake.added,
        removed=intake.removed,
        stopped=bool(counts.pending) and run.stop.requested,
        resumed=intake.resumed,
        classes={name: labels.get(label, 0) for label, name in enumerate(run.contract.classes)},
        reasons=ledger.reasons(),
        excluded_reasons=ledger.excluded_reasons(),
        others=dict(run.listing.others.most_common()),
        seconds=spent.seconds,
        slices_per_s=spent.slices / spent.seconds if spent.seconds else 0.0,
        run_id=ledger.run_id,
        device=run.info.device,
        tables=tables,
        run_json=run.output.out / RUN_JSON,
        exit_code=run.stop.exit_code if run.stop.requested else code,
        warnings=warnings,
    )
