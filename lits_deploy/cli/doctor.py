"""`lits-deploy doctor`: what works on this machine, on one page to read, or to paste into an issue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:
    from lits_deploy.doctor import Check, DoctorReport


_STATES = ("ok", "warning", "missing", "broken")  # words, as marks all print as ? on a terminal without UTF-8
_TITLES = {
    "runtimes": "Runtimes (a small network was run through each)",
    "gpu": "GPU",
    "machine": "Machine",
    "folders": "Folders",
    "libraries": "Libraries, by extra",
}
_STATE_WIDTH, _NAME_WIDTH, _WIDTH = 10, 19, 100


@exit_codes("0 a runtime works", "1 none does")
def doctor(
    as_json: bool = run_options.AS_JSON,
    out: Path = typer.Option(
        Path(), help="Folder for results: its disk is tried. If it holds the ledger of a run, that is checked."
    ),
) -> None:
    """Say what works on this machine and how to install the rest.

    Every runtime is tried, by running a small network on each device and comparing the answer. Names neither the user
    nor the machine, so it can be pasted into an issue.
    """
    from lits_deploy.cli.console import print_json
    from lits_deploy.doctor import examine

    report = examine(out)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    raise typer.Exit(exits.DONE if report.working else exits.SOME_FAILED)


def print_report(report: DoctorReport) -> None:
    """Sections of rows; a line that starts with `fix:` can be typed as it stands, so it is never folded."""
    from lits_deploy import __version__
    from lits_deploy.cli.console import console

    width = min(console.width, _WIDTH) if console.is_terminal else _WIDTH
    console.print(f"lits-deploy {__version__} doctor")
    for section, title in _TITLES.items():
        rows = [check for check in report.checks if check.section == section]
        if rows:
            console.print()
            console.print(title, style="bold")
        for check in rows:
            for line in lines(check, width):
                console.print(line)
    console.print("")
    console.print(summary(report))


def lines(check: Check, width: int) -> list[str]:
    """A row as text: state, name, what was found (folded to `width` columns), and its fix on a line of its own."""
    import textwrap

    head = f"  {check.state:<{_STATE_WIDTH}} {check.name:<{_NAME_WIDTH}} "
    indent = " " * len(head)
    folded = textwrap.TextWrapper(max(width, 60), head, indent, break_long_words=False, break_on_hyphens=False)
    return [*(folded.wrap(check.found) or [head]), *([f"{indent}fix: {check.fix}"] if check.fix else [])]


def summary(report: DoctorReport) -> str:
    """The last line: which runtimes work, how much is broken or could be better."""
    count = {state: sum(check.state == state for check in report.checks) for state in _STATES}
    rest = f"{count['broken']} broken, {count['warning']} warnings, {count['missing']} missing"
    if not report.working:
        return f"No runtime works here ({rest}): see the fixes under Runtimes."
    return f"Works: {', '.join(report.working)} ({rest})."
