"""The process that drives Ray for `ray_cluster`: an actor for each device of every node, shards to them, ledgers back.

    in    {"start": {…}, "address": "ray://head:10001", "cpu_workers": 0}    once
          {"give": "node-1 cuda:0", "shard": 7}    {"again": "node-1 cuda:0"}    {"stop": true}
    out   {"worker": "node-1 cuda:0", …}           with what that worker says (`sharding.worker`), and `machine`
          {"worker": "…", "left": "…", "lost": true}
          {"note": "…"}    {"broken": "…", "fix": "…"}

Shards' rows go to the nodes and their ledgers come back through Ray's object store; this process publishes them. So
nodes need the scans at the same paths, and neither JOB nor a shared disk. Ray's own restarts and retries are off: who
does what is the scheduler's decision (`scheduler`).
"""

from __future__ import annotations

import os
import threading
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import IO, Any, NoReturn

from lits_deploy import exits, private
from lits_deploy.errors import UserError
from lits_deploy.printable import say_error
from lits_deploy.pseudonyms import salt_of
from lits_deploy.resource_errors import as_user_error
from lits_deploy.sharding import ray_connect
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.pipes import ParentLink, live_with
from lits_deploy.sharding.ray_cargo import publish, rows_of, shipped
from lits_deploy.sharding.ray_node import NodeWorker
from lits_deploy.sharding.ray_slots import Slot, most_common, slots_of

WAIT_S, LOOK_EVERY_S, POLL_EVERY_S = 0.2, 5.0, 1.0
"""Of the loop; of looking for nodes that have come; of asking workers where they are."""

ALONE_S = 60.0
"""How long it waits for a node when there is none."""

_ODD = {
    "broken": "Its GPU or class of processor differs from most nodes', so its answers might differ in the last digit.",
    "fix": "run it on nodes of one kind",
}

MOST_LOSSES = 5
"""Losses of one worker after which its node is left alone."""


@dataclass
class ClusterWorker:
    """A worker of the cluster. doing: what is being waited for, and `shard` of what; asked: its progress is.

    joined: the parent knows of it.
    """

    slot: Slot
    actor: Any
    doing: Any = None
    joined: bool = False
    shard: int | None = None
    asked: Any = None


class Driver:
    """The loop between the parent's messages and Ray's answers."""

    def __init__(self, link: ParentLink, ray: Any, setup: Mapping[str, Any]) -> None:
        self._link, self._ray = link, ray
        start = Start.from_json(setup["start"])
        assert start.job is not None
        self._job = JobFolder(start.job, endpoint=start.endpoint)
        self._record = self._job.read()
        self._cpu_workers = setup["cpu_workers"]
        self._seen: dict[str, dict[str, str]] = {}
        self._kind: str | None = None
        for slot in slots_of(ray.nodes(), self._cpu_workers):
            if "broken" in (word := self._about(slot)):
                raise UserError(word["broken"], fix=word["fix"])
        self._bundles = [
            (name, *shipped(ray, Path(path)))
            for name, path in (("bundle", start.bundle), ("segmenter", start.segmenter))
            if path is not None
        ]
        self._start = replace(
            start,
            job=None,
            record=replace(self._record, shards=()),
            goldens=True,
            options=replace(
                start.options,
                salt=salt_of(Path(), start.options.salt, start.options.salt_file),
                salt_file=None,
                ledger=None,
            ),
        )
        self._members: dict[str, ClusterWorker] = {}
        self._losses: Counter[str] = Counter()
        self._left_alone: set[str] = set()
        self._looked = self._polled = 0.0
        self._alone_since = monotonic()
        self._last_word: dict[str, Any] | None = None

    def run(self) -> NoReturn:
        """Until the parent has gone."""
        stopping = False
        while True:
            if self._link.stop.requested and not stopping:
                stopping = True
                for member in self._members.values():
                    member.actor.stop.remote()
            waits = any(member.doing is not None for member in self._members.values())
            for message in self._link.messages(0.0 if waits else WAIT_S):
                self._obey(message)
            if not stopping and monotonic() - self._looked > LOOK_EVERY_S:
                self._look()
            self._hear()
            self._ask()

    def _obey(self, message: Mapping[str, Any]) -> None:
        if "again" in message:
            if (member := self._members.get(message["again"])) is not None:
                self._prepare(member)
            return
        member = self._members.get(message["give"])
        if member is None:
            return  # it was lost meanwhile, and the parent knows
        entry = self._record.shard(message["shard"])
        member.shard = entry.number
        member.doing = member.actor.do.remote(entry.number, asdict(entry), rows_of(self._job, entry))

    def _look(self) -> None:
        """Have a worker on every device of the nodes that there are now."""
        self._looked = monotonic()
        slots = slots_of(self._ray.nodes(), self._cpu_workers)
        self._kind = self._kind or most_common(self._kind_of(slot) for slot in slots)
        for slot in slots:
            if slot.name in self._members or slot.machine in self._left_alone:
                continue
            if "broken" in (word := self._about(slot)):
                self._leave_alone(slot, word)
            elif self._kind_of(slot) != self._kind:
                self._leave_alone(slot, _ODD)
            else:
                actor = ray_connect.actor_on(self._ray, NodeWorker, slot)
                self._members[slot.name] = member = ClusterWorker(slot, actor)
                self._prepare(member)
        if self._members:
            self._alone_since = monotonic()
        elif self._left_alone or monotonic() - self._alone_since > ALONE_S:
            word = self._last_word or {"broken": "No node of the Ray cluster can work.", "fix": "`ray status` there"}
            self._link.send(**word)
            raise SystemExit(exits.USER_ERROR)

    def _about(self, slot: Slot) -> dict[str, str]:
        """As `ray_connect.look_at`; a node that has answered well is asked once."""
        answer = self._seen.get(slot.node)
        if answer is None or "broken" in answer:
            answer = self._seen[slot.node] = ray_connect.look_at(self._ray, slot.node, slot.machine)
        return answer

    def _kind_of(self, slot: Slot) -> str:
        """What decides how a worker there rounds, as far as it is known before it has joined."""
        return f"GPU {slot.gpu}" if slot.gpus else self._about(slot).get("processor", "")

    def _prepare(self, member: ClusterWorker) -> None:
        start = replace(self._start, options=member.slot.options(self._start.options))
        document = start.to_json()
        member.shard, member.doing = None, member.actor.prepare.remote(document, self._bundles)

    def _hear(self) -> None:
        """Wait a moment for actors, and pass on what they say."""
        waited = {member.doing: member for member in self._members.values() if member.doing is not None}
        if not waited:
            return
        ready, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=WAIT_S)
        for reference in ready:
            member = waited[reference]
            member.doing = None
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError:
                raise  # a bug of ours, on the node
            except self._ray.exceptions.RayError as error:
                self._lost(member, error)
                continue
            said, ledger = answer if isinstance(answer, tuple) else (answer, None)
            if ledger is not None and member.shard is not None:
                publish(self._job, self._record.shard(member.shard), ledger)
            self._pass_on(member, said)

    def _pass_on(self, member: ClusterWorker, said: list[dict[str, Any]]) -> None:
        name, node = member.slot.name, member.slot.machine
        for message in said:
            if "broken" in message:
                self._drop(member)
                self._leave_alone(member.slot, message)
            elif "left" in message:
                self._link.send(worker=name, left=message["left"], lost=False)
            else:
                if "refused" in message and member.shard is not None:
                    self._job.note_failure(self._record.shard(member.shard), message["refused"])
                member.joined |= "joined" in message
                self._link.send(**message, worker=name, machine=node)
        member.shard = None

    def _lost(self, member: ClusterWorker, error: Exception) -> None:
        name = member.slot.name
        self._drop(member)
        self._losses[name] += 1
        if self._losses[name] >= MOST_LOSSES:
            self._left_alone.add(member.slot.machine)
        if member.joined:
            self._link.send(worker=name, left=f"its node or actor ({type(error).__name__})", lost=True)

    def _drop(self, member: ClusterWorker) -> None:
        self._members.pop(member.slot.name, None)
        self._ray.kill(member.actor)

    def _leave_alone(self, slot: Slot, word: dict[str, Any]) -> None:
        if slot.machine not in self._left_alone:
            self._left_alone.add(slot.machine)
            self._link.send(note=f"{slot.machine} does no shards: {word['broken']} Fix: {word['fix']}")
        self._last_word = word

    def _ask(self) -> None:
        """Ask those at work where they are, now and then; tell what they have answered."""
        busy = [member for member in self._members.values() if member.shard is not None]
        asked = {member.asked: member for member in busy if member.asked is not None}
        if asked:
            for reference in self._ray.wait(list(asked), num_returns=len(asked), timeout=0)[0]:
                member = asked[reference]
                member.asked = None
                try:
                    progress = self._ray.get(reference)
                except self._ray.exceptions.RayError:
                    continue  # `do` will say more
                if progress is not None:
                    self._link.send(worker=member.slot.name, progress=progress)
        if monotonic() - self._polled > POLL_EVERY_S:
            self._polled = monotonic()
            for member in busy:
                if member.asked is None:
                    member.asked = member.actor.progress.remote()


def main(setup: Mapping[str, Any], stream: IO[bytes]) -> NoReturn:
    """Serve until the parent closes the pipe."""
    live_with(setup["parent"])
    os.umask(0o077)
    session = ray_connect.RayConnection()
    ended = threading.Event()
    link = ParentLink(stream, at_end=ended.set)
    threading.Thread(target=_end_when, args=(ended, session), daemon=True).start()
    code: int = exits.DONE
    try:
        with private.private():
            Driver(link, session.connect(setup["address"], link), setup).run()
    except SystemExit as error:
        code = exits.USER_ERROR if error.code else exits.DONE
    except BaseException as error:
        code = _said(error, link)
    session.end()
    os._exit(code)


def _said(error: BaseException, link: ParentLink) -> int:
    known: UserError | None = as_user_error(error)
    if known is None:
        say_error(*"".join(traceback.format_exception(error)).rstrip().split("\n"))
        return exits.BUG
    link.send(broken=known.message, fix=known.fix)
    return exits.USER_ERROR


def _end_when(ended: threading.Event, session: ray_connect.RayConnection) -> None:
    """End in good order once the parent has gone, whatever the loop is at."""
    ended.wait()
    session.end()
    os._exit(exits.DONE)
