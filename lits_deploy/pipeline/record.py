"""run.json: what ran, where, with what, how long. Times and machine stand here and nowhere else."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lits_deploy.files import write_json
from lits_deploy.machine import cores, peak_resident_bytes, processor
from lits_deploy.pipeline.about import decided
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.options import RunSummary
from lits_deploy.printable import printable_values
from lits_deploy.release import DISCLAIMER, __version__
from lits_deploy.results import SCHEMA as TABLES_SCHEMA
from lits_deploy.run_json import SCHEMA
from lits_deploy.runtime import RuntimeInfo

_LIBRARIES = ("numpy", "pillow", "pydicom", "python-gdcm", "pylibjpeg", "pylibjpeg-openjpeg", "nibabel", "pyarrow")


@dataclass
class StartTimes:
    """The hours of one start of a run: monotonic seconds, except `started`."""

    started: datetime
    begun: float
    discovered: float = 0.0
    begun_files: float = 0.0
    ended_files: float = 0.0
    tables_written: float = 0.0
    finished: float = 0.0

    def since_call(self, moment: float | None) -> float | None:
        """Seconds from the start to a moment, for a record."""
        return None if moment is None else round(moment - self.begun, 4)


@dataclass(frozen=True, kw_only=True)
class RunEffort:
    """How a start went, besides what `StartTimes` knows: for its summary and run.json.

    slices: answered now, wherever the answers came from; seconds: from the first file. warnings: what only those know
    who had it answered. options: what those of the run came to; replaced: decode workers; stages: seconds by name,
    beside discover, write and report; write_s: in the ledger; start_up: seconds from the call; more: sections of their
    own.
    """

    slices: int
    seconds: float
    warnings: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    replaced: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    write_s: float = 0.0
    start_up: Mapping[str, float | None] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def write_run_json(
    run: RunContext,
    *,
    summary: RunSummary,
    session: StartTimes,
    effort: RunEffort,
    ignored: Ignored,
    identity: Mapping[str, Any],
    provenance: Mapping[str, str],
) -> None:
    """Write run.json, whole or not at all."""
    options, info = run.options, run.info
    asked = dataclasses.asdict(options)
    asked["ledger"] = None if options.ledger is None else "elsewhere"  # a path may hold a name
    asked["engine_cache"] = None if options.engine_cache is None else str(options.engine_cache)
    asked["salt_file"] = None if options.salt_file is None else "elsewhere"
    asked["ignore"] = len(options.ignore) if options.pseudonymous else options.ignore
    asked["salt"] = None if options.salt is None else "given"
    document = {
        "schema": SCHEMA,
        "run_id": summary.run_id,
        "disclaimer": DISCLAIMER,
        "started": session.started.isoformat(timespec="seconds"),
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "exit_code": summary.exit_code,
        "added": summary.added,
        "removed": summary.removed,
        "resumed": summary.resumed,
        "stopped": summary.stopped,
        "identity": identity,
        "model": provenance["model"],
        "runtime": dataclasses.asdict(info),
        "versions": versions(info),
        "answered_with": [row._asdict() for row in run.ledger.answered_with()],
        "machine": _machine(),
        "options": {**asked, **effort.options},
        "counts": {**counts_of(summary), "workers_replaced": effort.replaced},
        "ignored": {"patterns": ignored.patterns, "hashed_paths": len(ignored.paths)},
        **(
            {"decided": decided(run.artifact, run.options.operating_point)}
            if run.bundle.manifest.task == "classify"
            else {}
        ),
        "tables_schema": TABLES_SCHEMA,
        "tables": [table.name for table in summary.tables],
        "timings": timings(session, summary, effort),
        "peak_memory_mib": peak_resident_bytes() >> 20,
        "warnings": list(summary.warnings),
        **effort.more,
    }
    # A log for people: names of devices and classes can be printed.
    write_json(summary.run_json, printable_values(document))


def counts_of(summary: RunSummary) -> dict[str, Any]:
    """Files and slices by what became of them."""
    return {
        "files": summary.files,
        "files_not_reached": summary.missing,
        "slices": summary.slices,
        "copies": summary.copies,
        "abstained": summary.abstained,
        "excluded": summary.excluded,
        "slices_now": summary.now,
        "failed": summary.failed,
        "acknowledged": summary.acknowledged,
        "classes": dict(summary.classes),
        "reasons": dict(summary.reasons),
        "excluded_reasons": dict(summary.excluded_reasons),
        "not_scans": dict(summary.others),
    }


def timings(session: StartTimes, summary: RunSummary, effort: RunEffort) -> dict[str, Any]:
    """Seconds. decode is summed over workers; wait is the network's, for slices; start-up counts from the call."""
    return {
        "wall_s": session.since_call(session.finished),
        "files_s": round(summary.seconds, 4),
        "slices_per_s": round(summary.slices_per_s, 3),
        "stages": {
            "discover_s": session.since_call(session.discovered),
            **{name: round(seconds, 4) for name, seconds in effort.stages.items()},
            "write_s": round(effort.write_s + session.tables_written - session.ended_files, 4),
            "report_s": round(session.finished - session.tables_written, 4),
        },
        "start_up": dict(effort.start_up),
    }


def versions(info: RuntimeInfo) -> dict[str, str]:
    """Everything that answers are made with, and its version: this program, the runtime in use, what decodes."""
    found = {"lits-deploy": __version__, "python": platform.python_version(), info.name: info.version}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": processor(),
        "cores": cores(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }
