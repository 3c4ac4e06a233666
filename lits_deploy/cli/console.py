"""What every command prints with: plain lines, plain tables, JSON, the progress bar.

Nothing that goes in is markup: a class may be called `a[/foo]`. What cannot be seen is written out (`printable`), a
line feed within a line too, so one call is one line. No other module may print or import rich (tests/test_output.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich import progress
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from lits_deploy.events.emit import emit
from lits_deploy.events.progress import ProgressFigures
from lits_deploy.events.session import current
from lits_deploy.events.wording import Quoting
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


class _Results(Plain):
    """Standard output; in `json_alone` standard error, unless a log is there."""

    def print(self, *objects: Any, **how: Any) -> None:
        """One line, or a table."""
        if _documents is None:
            super().print(*objects, **how)
        elif not (self.quiet or ((session := current()) and (session.asked.quiet or session.asked.log_format))):
            errors.print(*objects, **how)


console = _Results(highlight=False, soft_wrap=True)
"""Results and summaries: standard output."""

errors = Plain(stderr=True, highlight=False, soft_wrap=True)
"""Progress and warnings: standard error, so that standard output can be piped."""

_documents: list[Any] | None = None
"""Of a command with --json: what it has to print at its end."""


def note(text: str, *, level: int = logging.INFO, kind: str = "note", prefix: str = "") -> None:
    """A line for the user on standard error, and in the log of a command that keeps one (`events`).

    text: of our own words, numbers and a bundle's names; what quotes anything else is a `Quoting`.
    """
    if current() is None:
        errors.print(prefix + text)
    else:
        emit(kind, text.logged if isinstance(text, Quoting) else text, level=level, plain=prefix + text)


def warn(text: str) -> None:
    """A warning, likewise."""
    note(text, level=logging.WARNING, kind="warning", prefix="warning: ")


def complain(text: str) -> None:
    """What makes the command end with an error, likewise."""
    note(text, level=logging.ERROR, kind="error", prefix="error: ")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), title: str = "") -> None:
    """Print a table; `right` names the columns to align right. Into a pipe or file it goes unfolded, however wide."""
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in header:
        drawn.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    if console.is_terminal or _documents is not None:
        console.print(drawn)
        return
    width = console.measure(drawn, options=console.options.update(max_width=10_000)).maximum
    Plain(file=console.file, width=max(console.width, width), highlight=False).print(drawn)


def reasons_table(
    title: str, unit: str, reasons: Mapping[str, int], *, count: int = 0, shown: int | None = None
) -> None:
    """Print an empty line and why so many were passed over. shown: most; count: of all, if there are more reasons."""
    first = list(reasons.items())[:shown]
    rows = [(reason, f"{n:,}") for reason, n in first]
    if (rest := count - sum(n for _, n in first)) > 0:
        rows.append(("other reasons", f"{rest:,}"))
    console.print("")
    table((title, unit), rows, right=(unit,))


def print_others(others: Mapping[str, int]) -> None:
    """How many files are no scans, by suffix: the most frequent ones."""
    kinds = ", ".join(f"{suffix or 'no suffix'} {n:,}" for suffix, n in list(others.items())[:4])
    if others:
        console.print(f"{sum(others.values()):,} other files not read ({kinds})")


def print_json(document: Any) -> None:
    """Print JSON whose every character is printable and whose values are exact; in `json_alone` at its end."""
    if _documents is not None:
        _documents.append(document)
    elif not console.quiet:
        say(*printable_json(document).split("\n"), to=console.file)


@contextmanager
def json_alone() -> Iterator[None]:
    """What a command with --json runs in: standard output gets its document and nothing else, and that only where the
    command does not end by an error."""
    global _documents
    _documents, ended = [], None
    try:
        yield
    except typer.Exit as end:
        ended = end
    finally:
        documents, _documents = _documents or [], None
    for document in documents:
        print_json(document)
    if ended is not None:
        raise ended


class _PlainColumn(progress.ProgressColumn):
    """A task's text by a template as rich's TextColumn takes it, without markup."""

    def __init__(self, template: str) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._template = template

    def render(self, task: progress.Task) -> Text:
        return Text(printable(self._template.format(task=task)))


def progress_bar(unit: str = "slices") -> progress.Progress:
    """A bar with description, count, rate (task field `rate`, per second) and time left; nothing drawn when piped."""
    rate = _PlainColumn("{task.fields[rate]:.1f} " + unit + "/s")
    note = _PlainColumn("{task.fields[note]}")
    return _bar(progress.MofNCompleteColumn(), rate, progress.TimeRemainingColumn(), note)


@contextmanager
def bar(what: str, unit: str = "slices", *, resumed: bool = False) -> Iterator[Callable[..., None]]:
    """A bar; gives what is called with (done, total), total where it is known. resumed: what the first call says is no
    part of the rate."""
    begun, before = time.perf_counter(), -1 if resumed else 0
    with progress_bar(unit) as drawn:
        task = drawn.add_task(what, total=None, rate=0.0, note="", unit=unit)

        def show(done: int, total: int | None = None) -> None:
            nonlocal before
            before = done if before < 0 else before
            rate = (done - before) / max(time.perf_counter() - begun, 1e-6)
            drawn.update(task, total=total, completed=done, rate=rate)

        yield show


def phase_bar() -> progress.Progress:
    """A bar with description, time and the name of the phase (task field `phase`); gone when it is done."""
    return _bar(progress.TimeElapsedColumn(), _PlainColumn("{task.fields[phase]}"), transient=True)


class _Bar(progress.Progress):
    """A bar that heartbeats follow while it is there, drawn or not."""

    def start(self) -> None:
        super().start()
        if (session := current()) is not None:
            session.follow(self.figures)

    def stop(self) -> None:
        if (session := current()) is not None:
            session.unfollow(self.figures)
        super().stop()

    def figures(self) -> ProgressFigures | None:
        """Of the task that was added last."""
        if not (tasks := self.tasks):
            return None
        task, fields = tasks[-1], tasks[-1].fields
        return ProgressFigures(
            what=task.description,
            done=task.completed,
            total=task.total,
            failed=fields.get("failed"),
            per_second=fields.get("rate") or task.speed,  # bars that show no rate have one, too
            unit=fields.get("unit", ""),
            left_s=task.time_remaining,
            note=fields.get("note") or fields.get("phase") or "",
        )


def _bar(*columns: progress.ProgressColumn, transient: bool = False) -> progress.Progress:
    first = (_PlainColumn("{task.description}"), progress.BarColumn(bar_width=24), progress.TaskProgressColumn())
    drawn = errors.is_terminal if (session := current()) is None else session.bars
    return _Bar(*first, *columns, console=errors, transient=transient, disable=not drawn)
