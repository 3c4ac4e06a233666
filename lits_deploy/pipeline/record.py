"""run.json: what ran, where, with what, how long. Times and machine stand here and nowhere else."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER, __version__
from lits_deploy.files import write_json
from lits_deploy.ledger import AnsweredRow
from lits_deploy.machine import cores, peak_resident_bytes, processor
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.printable import printable_values
from lits_deploy.run_json import SCHEMA
from lits_deploy.runtime import RuntimeInfo

_LIBRARIES = (
    "numpy",
    "pillow",
    "pydicom",
    "python-gdcm",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "nibabel",
    "pyarrow",
)


@dataclass
class Session:
    """The hours of one start of a run: monotonic seconds, except `started`."""

    started: datetime
    begun: float
    discovered: float = 0.0
    begun_files: float = 0.0
    ended_files: float = 0.0
    tables_written: float = 0.0
    finished: float = 0.0


def write_run_json(
    path: Path,
    *,
    summary: RunSummary,
    session: Session,
    ignored: Ignored,
    loop: Loop,
    identity: Mapping[str, Any],
    provenance: Mapping[str, str],
    answered_with: Sequence[AnsweredRow],
    options: ClassifyOptions,
    effective: Mapping[str, Any],
) -> None:
    """Write run.json, whole or not at all."""
    assert loop.opened is not None
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
        "resumed": summary.resumed,
        "stopped": summary.stopped,
        "identity": identity,
        "model": provenance["model"],
        "runtime": dataclasses.asdict(loop.opened.info),
        "versions": versions(loop.opened.info),
        "answered_with": [row._asdict() for row in answered_with],
        "machine": _machine(),
        "options": {**asked, **effective, "largest_batch_run": loop.inference.most},
        "counts": {
            "files": summary.files,
            "files_not_reached": summary.missing,
            "files_added": summary.added,
            "files_removed": summary.removed,
            "slices": summary.slices,
            "unsure": summary.unsure,
            "withheld": summary.withheld,
            "slices_now": summary.now,
            "failed": summary.failed,
            "acknowledged": summary.acknowledged,
            "classes": dict(summary.classes),
            "reasons": dict(summary.reasons),
            "withheld_reasons": dict(summary.withheld_reasons),
            "not_scans": dict(summary.others),
            "workers_replaced": loop.pool.restarts,
        },
        "ignored": {"patterns": ignored.patterns, "hashed_paths": len(ignored.paths)},
        "tables": [table.name for table in summary.tables],
        "timings": _timings(session, loop, summary),
        "peak_memory_mib": peak_resident_bytes() >> 20,
        "warnings": list(summary.warnings),
    }
    write_json(path, printable_values(document))  # a log for people: names of devices and classes can be printed


def _timings(session: Session, loop: Loop, summary: RunSummary) -> dict[str, Any]:
    """Seconds. decode is summed over workers; wait is the network's, for slices; start-up counts from the call."""
    assert loop.opened is not None

    def since_call(moment: float | None) -> float | None:
        return None if moment is None else round(moment - session.begun, 4)

    return {
        "wall_s": since_call(session.finished),
        "files_s": round(summary.seconds, 4),
        "slices_per_s": round(summary.slices_per_s, 3),
        "stages": {
            "discover_s": since_call(session.discovered),
            "decode_s": round(loop.pool.decode_ms / 1000, 4),
            "wait_s": round(loop.inference.wait_s, 4),
            "infer_s": round(loop.inference.infer_s, 4),
            "write_s": round(loop.write_s + session.tables_written - session.ended_files, 4),
            "report_s": round(session.finished - session.tables_written, 4),
        },
        "start_up": {
            "workers_ready_s": since_call(loop.pool.ready_at),
            "network_loaded_s": round(loop.opened.seconds, 4),
            "first_file_s": since_call(session.begun_files),
            "first_result_s": since_call(loop.first_result_at),
        },
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
