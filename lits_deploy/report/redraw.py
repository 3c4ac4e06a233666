"""Tables and page of a run drawn again from its ledger, without scans and without a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lits_deploy.errors import OutputError
from lits_deploy.ledger import FILE_NAME, RUN
from lits_deploy.pipeline.output import REPORT, OutputFolder
from lits_deploy.report.page import write_page
from lits_deploy.results import write_tables


def redraw(
    out: Path,
    *,
    formats: Sequence[str] = (),
    ledger_folder: Path | None = None,
    group_readable: bool | None = None,
) -> tuple[Path, ...]:
    """Write the result tables and report.html of the run in `out` anew; their paths.

    formats: of tables, besides those that are there; csv where there are none. group_readable: as for `OutputFolder`.
    Raises OutputError where there is no run, another process is at it, or it cannot be written.
    """
    if not ((ledger_folder or out) / FILE_NAME).is_file():
        raise OutputError(
            f"{ledger_folder or out} holds no {FILE_NAME}.", fix="name the OUT of a run, and its --ledger if it had one"
        )
    with OutputFolder(out, ledger_folder=ledger_folder, group_readable=group_readable) as output:
        noted = output.ledger.noted(RUN)
        if noted is None:
            output.ledger.check()  # a damaged one may have lost it
            raise OutputError(f"The run in {out} never began.", fix="run the command that made it once more")
        run = json.loads(noted)
        kinds = tuple(dict.fromkeys([*formats, *output.tables_there()])) or ("csv",)
        tables = write_tables(
            out, kinds, output.ledger, classes=run["classes"], provenance=run["provenance"], pair=run.get("pair", False)
        )
        return (*tables, write_page(output.ledger, out / REPORT))
