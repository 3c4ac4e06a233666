"""What every command prints with: one console, plain tables, the progress bar."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
"""Results and summaries: standard output."""

errors = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress and warnings: standard error, so that standard output can be piped."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), title: str = "") -> None:
    """Print a table; `right` names the columns to align right. Into a pipe or file it goes unfolded, however wide."""
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in header:
        drawn.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    if console.is_terminal:
        console.print(drawn)
        return
    width = console.measure(drawn, options=console.options.update(max_width=10_000)).maximum
    Console(file=console.file, width=max(console.width, width), highlight=False).print(drawn)


def progress_bar(unit: str = "slices") -> Progress:
    """A bar with description, count, rate (task field `rate`, per second) and time left; nothing drawn when piped."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} " + unit + "/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=errors,
        transient=False,
        disable=not errors.is_terminal,
    )
