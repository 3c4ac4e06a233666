"""`watch_folder`: classify the studies of an inbox as they become complete, until asked to stop.

Every run is `pipeline.run.run_folder` over the complete entries alone; the ledger keeps what it has of the others, so
that earlier results stay while a study grows, and after it has been moved away. Killed and started again, the watch
compares what is there with the states that the ledger notes as done. Only the first run, over nothing, raises: it finds
bundle, device and output folder wanting. What goes wrong later is noted, and tried again: a full disk or a lost device
after a while, entries that break a run one by one, and a few times, until they change. Each is reported once,
an entry's also over restarts. Reports name entries as tables name paths: printable, or by pseudonym.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from secrets import token_bytes
from time import monotonic

from lits_deploy.bundle import Bundle
from lits_deploy.events.wording import Quoting, raised_at, wording
from lits_deploy.files import canonical_json
from lits_deploy.pipeline.context import RunContext, RunHooks
from lits_deploy.pipeline.naming import pseudonyms
from lits_deploy.pipeline.network import open_network
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pseudonyms import Pseudonyms
from lits_deploy.report.peaks import Peaks
from lits_deploy.resource_errors import as_user_error
from lits_deploy.runtime import Runtime
from lits_deploy.scans.containment import real_names
from lits_deploy.scans.paths import escape
from lits_deploy.watch.changes import ChangeSource, changes_in
from lits_deploy.watch.folders import alone, check_folders
from lits_deploy.watch.inbox import EMPTY, Inbox
from lits_deploy.watch.studies import StudyLine, study_lines

RESCAN_S = 300.0
"""Everything is looked at this often, whatever the system's notices say."""

PUT_OFF_S = (10.0, 600.0)
"""Shortest and longest wait after a run that failed; it doubles each time."""

TRIES = 4
"""Runs that an entry may break before it is set aside until it changes."""

DONE = "watch"
"""What the ledger notes of a watch: which states of entries are done, by the part that the ledger has of the entry.

A state is a hash of the entry's name with all names, sizes and times in it, keyed with the salt: never of a name alone.
"""

REPORTED = "watch-told"
"""Which states of entries broke a run, as DONE writes them, so that each is reported once."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What waits in the inbox. all, to_do: entries; set_aside: of those to do, entries that broke a run several times
    and wait for a change; failures: runs that failed one after the other."""

    all: int
    to_do: int
    set_aside: int
    failures: int


@dataclass(frozen=True, kw_only=True)
class WatchNotices:
    """What a watch tells: a study that is done, and anything else that a person should know, in one line.

    broke: an entry, by name or pseudonym, and why it broke its run. ready: the start has succeeded. idle: the watch is
    alive and idle, called several times a minute; gets what finds the queue, which costs a look at every entry. run: a
    run over so many entries begins.
    """

    study: Callable[[StudyLine], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None
    broke: Callable[[str, str], None] = lambda entry, why: None
    ready: Callable[[], None] = lambda: None
    idle: Callable[[Callable[[], Queue]], None] = lambda _: None
    run: Callable[[int], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How an inbox is looked at.

    quiet_s: seconds without a change after which a study is complete. poll: do not rely on the system's notices.
    changes, clock: for tests; seconds of a steady clock.
    """

    quiet_s: float = 30.0
    poll: bool = False
    changes: ChangeSource | None = None
    clock: Callable[[], float] = monotonic


def watch_folder(
    bundle: Bundle,
    inbox: Path,
    out: Path,
    *,
    options: ClassifyOptions | None = None,
    watch: WatchOptions = WatchOptions(),
    runtime: Runtime | None = None,
    hooks: RunHooks | None = None,
    notices: WatchNotices = WatchNotices(),
) -> RunSummary:
    """Classify every study of `inbox` once it is complete; the last run's summary.

    Ends when a stop is requested. runtime: an open network to use and leave open. hooks: of each run; what draws a
    report gets the pixels that it needs.
    Raises UserError for what is wrong at the start: the bundle, the device, a folder, another watch at work.
    """
    options, hooks, quiet_s = options or ClassifyOptions(), hooks or RunHooks(), watch.quiet_s
    check_folders(inbox, out, options, quiet_s)
    within = None if options.follow_links else real_names([inbox])
    with ExitStack() as stack:
        source = watch.changes or changes_in(
            inbox.resolve(), hooks.stop, quiet_s=quiet_s, poll=watch.poll, warn=notices.note, within=within
        )
        stack.callback(source.close)
        stack.enter_context(alone(options.ledger or out))
        network = _Network(bundle, out, options, runtime)
        stack.callback(network.close)
        runs = _Runs(bundle, inbox, out, options, network, hooks)
        runs.over({})
        entries = Inbox(inbox, quiet_s=quiet_s, is_done=runs.is_done, within=within)
        _Watch(runs, entries, hooks.stop, notices, watch.clock).serve(source)
    return runs.last


class _Network:
    """The network, opened when it is first asked for and kept, unless the caller owns it."""

    def __init__(self, bundle: Bundle, out: Path, options: ClassifyOptions, given: Runtime | None) -> None:
        self._bundle, self._out, self._options, self._given = bundle, out, options, given
        self._opened: Runtime | None = None

    def get(self) -> Runtime:
        if self._given is None and self._opened is None:
            self._opened = open_network(self._bundle, options=self._options)
        network = self._given or self._opened
        assert network is not None
        return network

    def close(self) -> None:
        """Let go of it; the next `get` opens it anew."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class _Runs:
    """Runs over some entries, and which states of entries are done. last: summary of the last run."""

    def __init__(
        self,
        bundle: Bundle,
        inbox: Path,
        out: Path,
        options: ClassifyOptions,
        network: _Network,
        hooks: RunHooks,
    ) -> None:
        self._bundle, self._inbox, self._out, self._options, self._hooks = bundle, inbox, out, options, hooks
        self.network = network
        self._done: dict[str, str] | None = None
        self._marks: set[str] = set()
        self._keys: dict[str, str] = {}  # of entries that this watch has seen done, in `_done`
        self._entries = Pseudonyms(salt=token_bytes(16))
        self._reported: set[str] = set()
        self._names: Pseudonyms
        self.last: RunSummary

    def over(self, states: dict[str, str]) -> list[StudyLine]:
        """Classify the entries of these names, whose states then are done; what there is to say of their studies.

        Nothing is said, nor done, if the run was asked to stop on its way. Nor is anything said twice, where all were
        done before and their results stay, as where only ctimes have moved. Raises what `run_folder` raises.
        """
        lines: list[StudyLine] = []
        known = all(name in self._keys or escape(name) in (self._done or {}) for name in states)

        def finish(finished: RunContext) -> Sequence[Path]:
            ledger = finished.output.ledger
            if self._done is None:
                self._done = self._remembered(ledger.noted(DONE))
                self._marks = set(self._done.values())
                self._reported |= set(json.loads(ledger.noted(REPORTED) or "[]"))
            paths = () if self._hooks.finish is None else self._hooks.finish(finished)
            if not ledger.counts().pending:
                lines.extend(study_lines(ledger, {escape(name): self.shown(name) for name in states}))
                self._finish_states(ledger.written_parts(), states)
                ledger.note(DONE, canonical_json(self._done))
            return paths

        self.last = run_folder(
            self._bundle,
            self._options.listing([self._inbox], self._out, only=frozenset(states)),
            self._out,
            options=self._options,
            runtime=self.network.get(),
            hooks=replace(self._hooks, keep=None if self._hooks.finish is None else Peaks, finish=finish),
        )
        self._options = replace(self._options, overwrite=False, ignore_none=False)
        changed = self.last.now or self.last.added or self.last.removed
        return lines if changed or not known else []

    def is_done(self, name: str, state: str) -> bool:
        """Whether this state of an entry needs no run; one without any file never did."""
        if self._marks and self._mark(name, state) in self._marks:
            return True
        return state == EMPTY and name not in self._keys and escape(name) not in (self._done or {})

    def name(self, name: str) -> str:
        """Pseudonym of an entry while this watch lasts."""
        return self._entries.of("entry", name)

    def shown(self, name: str) -> str:
        """How people see an entry: its name, printable, or its pseudonym where paths have one."""
        return self.name(name) if self._options.pseudonymous else escape(name)

    def report_once(self, name: str, state: str) -> bool:
        """Whether nobody has reported that this state of an entry broke a run; it counts as reported from now on."""
        mark = self._mark(name, state)
        if mark in self._reported:
            return False
        self._reported.add(mark)
        try:
            with OutputFolder(self._out, ledger_folder=self._options.ledger) as output:
                output.ledger.note(REPORTED, canonical_json(sorted(self._reported)))
        except Exception as error:  # it is reported again after a restart then
            if as_user_error(error) is None:
                raise
        return True

    def _finish_states(self, parts: Mapping[str, Sequence[str]], states: Mapping[str, str]) -> None:
        """Note states as done in place of those that the entries had before; by its mark where there is no part."""
        done = dict(self._done or {})
        for name, state in states.items():
            written, mark = parts.get(escape(name), ()), self._mark(name, state)
            for key in (*written, self._keys.get(name, mark)):
                done.pop(key, None)
            self._keys[name] = written[0] if written else mark
            done[self._keys[name]] = mark
        self._done, self._marks = done, set(done.values())

    def _mark(self, name: str, state: str) -> str:
        return self._names.of("state", f"{name}\0{state}")

    def _remembered(self, noted: str | None) -> dict[str, str]:
        """What earlier watches have done, now that the salt is there."""
        self._names = pseudonyms(self._options, self._options.ledger or self._out)
        return {} if noted is None else dict(json.loads(noted))


class _Watch:
    """The loop: wait, look, run over what is complete."""

    def __init__(
        self, runs: _Runs, inbox: Inbox, stop: Stop, notices: WatchNotices, clock: Callable[[], float]
    ) -> None:
        self._runs, self._inbox, self._stop, self._notices, self._clock = runs, inbox, stop, notices, clock
        self._failures = 0
        self._not_before = 0.0
        self._said: dict[str, str] = {}

    def serve(self, changes: ChangeSource) -> None:
        """Until asked to stop."""
        self._look(None)
        todo = self._inbox.to_do()
        self._notices.note(f"Watching {changes.method}. Entries: {len(self._inbox)}, {todo} of them to do.")
        self._notices.ready()
        rescan = self._clock() + RESCAN_S
        while not self._stop.requested:
            self._notices.idle(self._queue)
            now = self._clock()
            names: set[str] | None = None  # a run takes long: what came meanwhile is looked for everywhere
            if not self._run(now):
                due = max(self._inbox.next_due(), self._not_before)
                names = changes.wait(max(0.0, min(rescan, due) - now))
            if names is None or self._clock() >= rescan:
                names, rescan = None, self._clock() + RESCAN_S
            self._look(names)

    def _run(self, now: float) -> bool:
        """Run over the entries that are complete, if there are any: together, or one that broke a run alone."""
        if now < self._not_before:
            return False
        names = self._inbox.complete(now)
        names = [name for name in names if not self._inbox.tries(name)] or names[:1]
        if not names:
            return False
        states = self._inbox.states(names)
        self._notices.run(len(names))
        try:
            lines = self._runs.over(states)
        except KeyboardInterrupt:
            if not self._stop.requested:
                raise
        except Exception as error:
            self._runs.network.close()  # a lost device is opened anew
            known = as_user_error(error)
            if known is not None:
                self._failures += 1
                self._not_before = self._clock() + _pause(self._failures)
                again = "It is tried again until it succeeds."
                logged = f"A run failed ({type(error).__name__}): {wording(error, known.message)} {again}"
                self._say_once("run", Quoting(f"A run failed: {known.message} {again}", logged=logged))
            else:
                self._put_off(names, states, _origin(error))
        else:
            self._failures = 0
            self._said.pop("run", None)
            for line in lines:
                self._notices.study(line)
        return True

    def _put_off(self, names: list[str], states: dict[str, str], why: str) -> None:
        """These broke a run: together, so that each is tried alone, or one of them alone, a few times."""
        tries = self._inbox.tries(names[0]) + 1
        alone = len(names) == 1
        self._inbox.put_off(names, inf if alone and tries >= TRIES else self._clock() + _pause(tries))
        if not alone:
            self._say_once("broke", f"A run over {len(names):,} entries broke: {why} Each is tried alone.")
        elif self._runs.report_once(names[0], states[names[0]]):
            more = f"It is tried {TRIES} times, then set aside until it changes."
            self._notices.broke(self._runs.shown(names[0]), f"{why} {more}")

    def _queue(self) -> Queue:
        inbox = self._inbox
        return Queue(all=len(inbox), to_do=inbox.to_do(), set_aside=inbox.set_aside(), failures=self._failures)

    def _say_once(self, what: str, note: str) -> None:
        if self._said.get(what) != note:
            self._said[what] = note
            self._notices.note(note)

    def _look(self, names: set[str] | None) -> None:
        try:
            self._inbox.look(self._clock(), names)
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else type(error).__name__
            self._say_once("inbox", f"The inbox cannot be listed ({why}). It is tried again.")
        else:
            if names is None:
                self._said.pop("inbox", None)


def _pause(times: int) -> float:
    """Seconds until the next try after so many failures."""
    return float(min(PUT_OFF_S[0] * 2 ** (times - 1), PUT_OFF_S[1]))


def _origin(error: Exception) -> str:
    """Type of an error and where it came from; not what it says, which may quote a name."""
    return f"{type(error).__name__} at {', '.join(raised_at(error, 4))}, which is a bug."
