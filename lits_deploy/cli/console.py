"""What every command prints with: plain lines, plain tables, JSON, the progress bar.

Nothing that goes in is markup: a class may be called `a[/foo]`. What cannot be seen is written out (`printable`), a
line feed within a line too, so one call is one line. No other module may print or import rich (tests/test_output.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from lits_deploy.printable import printable, printable_json, say


class Plain(Console):
    """A console that takes every text as it is, whichever way it comes: lines, cells, titles."""

    def render_str(self, text: str, *, style: Any = "", justify: Any = None, overflow: Any = None, **_: Any) -> Text:
        """What rich makes of any text: here no markup, no emoji code, no highlighting, nothing unprintable."""
        return Text(printable(text), style=style, justify=justify, overflow=overflow)

    def on_broken_pipe(self) -> None:
        """Called while the BrokenPipeError is handled: goes on. Rich would end with 1, which means failed files."""
        self.quiet = True
        raise


console = Plain(highlight=False, soft_wrap=True)
"""Results and summaries: standard output."""

errors = Plain(stderr=True, highlight=False, soft_wrap=True)
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
    Plain(file=console.file, width=max(console.width, width), highlight=False).print(drawn)


def print_json(document: Any) -> None:
    """Print JSON whose every character is printable and whose values are exact."""
    say(*printable_json(document).split("\n"), to=console.file)


class _Words(ProgressColumn):
    """A task's text by a template as rich's TextColumn takes it, without markup."""

    def __init__(self, template: str) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._template = template

    def render(self, task: Task) -> Text:
        return Text(printable(self._template.format(task=task)))


def progress_bar(unit: str = "slices") -> Progress:
    """A bar with description, count, rate (task field `rate`, per second) and time left; nothing drawn when piped."""
    return Progress(
        _Words("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        _Words("{task.fields[rate]:.1f} " + unit + "/s"),
        TimeRemainingColumn(),
        _Words("{task.fields[note]}"),
        console=errors,
        transient=False,
        disable=not errors.is_terminal,
    )


def phase_bar() -> Progress:
    """A bar with description, time and the name of the phase (task field `phase`); gone when it is done."""
    return Progress(
        _Words("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        _Words("{task.fields[phase]}"),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
