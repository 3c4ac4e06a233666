"""A decode worker: a process that reads files, decodes them and writes slices into shared-memory slots.

Started by `decode.pool`, and light: numpy, Pillow and a reader. It talks in JSON, one line a message.

    in    {"file": 7, "path": "…", "reader": "lits_deploy.scans.image", "slots": [3]}    decode this; slots to use
          "member": 12, "mtime_ns": …  with it: the 12th entry of the zip at that path, last changed then
          "headers": true             with it: tell of the slices, decode none
          "only": [40, 41]            with it: no other slices of the file than these
          "neighbours": [["…", null, null], null, …]   with it: path, member and mtime_ns of the files that become
                                      channels of its one slice, null in the middle and where none is
          {"slots": [9, 10]}                                                             slots that were asked for
          a message with "forget": true first drops every unused slot: the parent took them back
    out   {"ready": true}
          {"file": 7, "filled": [[3, 0, {"position": 12.5}, 1932054, []]], "excluded": []}   so far; needs a slot
          {"file": 7, "filled": [[9, 1, {"position": 15.0}, 84021, [270, 31, 38, 112, 195, 1310, 160, 180, 210, 330]]],
           "excluded": [[2, "no body in the picture", {"position": 17.5}]], "done": true,
           "sha256": "…", "window": "…", "series": {…}, "ms": 0.6}
          {"file": 7, "failed": "the PNG is truncated", "sha256": "…", "series": null, "ms": 0.2}
          {"file": 7, "memory": true}                                                    and the worker ends
          {"file": 7, "neighbour": 2}  the neighbour for channel 2 is decoded next: what happens now is its fault

`filled` has slot and index of a slice, its header (`series.SliceHeader`), the checksum of its middle channel and how
that looks, if it is looked at (`scans.appearance`); `excluded` index, reason and header of one not for the network.

It never outlives its parent, takes no Ctrl-C, dumps no core (a core would hold a patient's pixels) and gets no more
memory for a file than its limit.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from lits_deploy import private
from lits_deploy.contract import InputContract
from lits_deploy.decode.checksum import checksum
from lits_deploy.decode.one_slice import CACHE_SIZE, FileCache, OneSlice, bytes_of, check, decode_one, plain, reason_of
from lits_deploy.decode.slots import map_slots
from lits_deploy.errors import SliceError
from lits_deploy.scans import Reader, Reading, Slice
from lits_deploy.scans.appearance import Numbers, chosen, look
from lits_deploy.scans.containment import Within
from lits_deploy.scans.neighbours import alone, in_file, stacked

if TYPE_CHECKING:
    from lits_deploy.scans import Frame

_PR_SET_PDEATHSIG = 1


class WorkerLink:
    """The pipes to the parent: messages out, jobs and slots in."""

    def __init__(self) -> None:
        # Private copies, so that neither a library's print nor its read can disturb the messages.
        self._out = os.fdopen(os.dup(1), "wb")
        self._in = os.fdopen(os.dup(0), "rb")
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._jobs: deque[dict[str, Any]] = deque()
        self.slots: deque[int] = deque()

    def send(self, **message: Any) -> None:
        """One message to the parent."""
        self._out.write(json.dumps(message).encode() + b"\n")
        self._out.flush()

    def next_job(self) -> dict[str, Any]:
        """The next file to decode; ends the process when the parent has gone."""
        while not self._jobs:
            self._receive()
        return self._jobs.popleft()

    def wait_for_slot(self) -> None:
        """Take messages until there is a slot."""
        while not self.slots:
            self._receive()

    def _receive(self) -> None:
        line = self._in.readline()
        if not line.endswith(b"\n"):  # the parent closed the pipe or is no more
            os._exit(0)
        message = json.loads(line)
        if message.get("forget"):
            self.slots.clear()
        self.slots.extend(message["slots"])
        if "file" in message:
            self._jobs.append(message)


class _FileReport:
    """What is to be reported of a file next: slices in slots, and slices that are excluded."""

    def __init__(self) -> None:
        self.filled: list[list[Any]] = []
        self.excluded: list[list[Any]] = []

    def take(self) -> dict[str, Any]:
        """As a message says it; empty from then on."""
        said = {"filled": self.filled, "excluded": self.excluded}
        self.filled, self.excluded = [], []
        return said


class Decoder:
    """Decodes files into slots, one after the other, within the memory limit.

    fd, slots: the shared memory and how many slices it holds. limit_bytes: what a file may take beyond what the
    process had when its reader was loaded. within: where files have to lie (`scans.containment`).
    """

    def __init__(
        self,
        link: WorkerLink,
        contract: InputContract,
        fd: int,
        slots: int,
        limit_bytes: int,
        *,
        reading: Reading,
        within: Within = None,
    ) -> None:
        self._link, self._contract, self._limit = link, contract, limit_bytes
        self._reading, self._within = reading, within
        self._alone = alone(contract)
        self._memory = map_slots(fd, slots, contract.shape)
        self._readers: dict[str, Reader] = {}
        self._cache = FileCache(max(CACHE_SIZE, 2 * contract.channels))
        self._waited = 0.0

    def load(self, name: str) -> Reader:
        """The reader module of that name, imported outside the memory limit, which then counts from here."""
        if name not in self._readers:
            _limit_memory(None)
            self._readers[name] = cast(Reader, importlib.import_module(name))
            _limit_memory(self._limit)
        return self._readers[name]

    def decode(self, job: dict[str, Any]) -> None:
        """Decode one file and answer; every failure of the file is an answer, too."""
        answer: dict[str, Any] = {"file": job["file"]}
        report = _FileReport()
        started = perf_counter()
        self._waited = 0.0
        try:
            window = self._decode_one(job, answer, report) if "neighbours" in job else self._decode(job, answer, report)
            answer |= {**report.take(), "done": True, "window": window}
        except MemoryError:
            # The heap may be in pieces: a fresh worker tries again, and the next files are not made to pay.
            _limit_memory(None)
            self._link.send(file=job["file"], memory=True)
            os._exit(0)
        except Exception as error:
            answer["failed"] = reason_of(error)
            if isinstance(error, SliceError):
                answer["series"] = answer.get("series") or plain(error.series)
        if "failed" in answer:
            self._link.slots.extendleft(slot for slot, *_ in reversed(report.filled))  # never reported, so still ours
        self._link.send(**answer, ms=round(1000 * (perf_counter() - started - self._waited), 3))

    def _decode(self, job: dict[str, Any], answer: dict[str, Any], report: _FileReport) -> str:
        """Decode a file whose neighbouring slices are in it, or that has none; its window."""
        reader = self.load(job["reader"])
        data = bytes_of(job, reader.MAX_BYTES, self._within)
        answer["sha256"] = hashlib.sha256(data).hexdigest()
        headers = job.get("headers", False)
        scan = reader.read(data, self._alone, headers_only=headers, reading=self._reading)
        answer["series"] = plain(scan.series)
        frames, channels = scan.frames, self._contract.channels
        if channels > 1 and not headers:
            before = reader.read(data, self._alone, headers_only=True, reading=self._reading)
            frames = in_file(frames, before.frames, channels)
        del data
        self._decode_frames(frames, job, report)
        return scan.window

    def _decode_one(self, job: dict[str, Any], answer: dict[str, Any], report: _FileReport) -> str:
        """Decode a file of one slice, and its neighbours unless they are cached; its window."""
        own = self._one(job, job["reader"])
        answer |= {"sha256": own.sha256, "series": own.series}
        if own.frame is None:
            raise SliceError(own.failed or "")
        frame = own.frame
        if own.pixels is not None:
            frame = replace(frame, pixels=stacked([*self._channels(job, own.pixels)]))
        self._decode_frames([frame], job, report)
        return own.window

    def _channels(self, job: dict[str, Any], own: Slice) -> Iterable[Slice | None]:
        """The channels of a slice, uint8 [1, S, S] each; None for a neighbour that cannot be used."""
        for channel, neighbour in enumerate(job["neighbours"]):
            if neighbour is None:
                yield own if channel == len(job["neighbours"]) // 2 else None
            else:
                source = dict(zip(("path", "member", "mtime_ns"), neighbour, strict=True))
                yield self._one(source, job["reader"], said={"file": job["file"], "neighbour": channel}).pixels

    def _one(self, source: Mapping[str, Any], reader: str, *, said: dict[str, Any] | None = None) -> OneSlice:
        """A file of one slice. said: to the parent, before it is read and decoded."""

        def decode() -> OneSlice:
            if said is not None:
                self._link.send(**said)
            return decode_one(source, self.load(reader), self._alone, reading=self._reading, within=self._within)

        return self._cache.get(source, decode)

    def _decode_frames(self, frames: Iterable[Frame], job: dict[str, Any], report: _FileReport) -> None:
        """Decode the slices into slots, as many as the job asks for; reports whenever it needs another slot."""
        only = None if job.get("only") is None else set(job["only"])
        for frame in frames:
            if only is not None and frame.index not in only:
                continue
            if frame.pixels is None:
                report.excluded.append([frame.index, frame.excluded, frame.header.to_json()])
                continue
            if not self._link.slots:
                self._link.send(file=job["file"], **report.take())
                asked = perf_counter()
                self._link.wait_for_slot()
                self._waited += perf_counter() - asked
            seen = self._write(frame, frame.pixels)
            report.filled.append([self._link.slots.popleft(), frame.index, frame.header.to_json(), *seen])

    def _write(self, frame: Frame, pixels: Slice) -> tuple[int, Numbers]:
        """Put a slice into the next slot; its checksum, and how it looks."""
        check(pixels, self._contract)
        slot = self._memory[self._link.slots[0]]
        slot[...] = pixels
        own = slot[self._contract.channels // 2]
        number = checksum(own)
        return number, look(own, frame.in_hu) if chosen(number) else ()


def main(settings: dict[str, Any]) -> None:
    """Run until the parent closes the pipe. settings: as `decode.process` writes them."""
    _live_and_die_with(settings["parent"])
    link = WorkerLink()
    contract = InputContract.from_json(settings["contract"])
    decoder = Decoder(
        link,
        contract,
        settings["memory_fd"],
        settings["slots"],
        settings["limit_bytes"],
        reading=Reading(**settings["reading"]),
        within=settings["within"],
    )
    for name in settings["preload"]:
        decoder.load(name)
    link.send(ready=True)
    while True:
        decoder.decode(link.next_job())


def _live_and_die_with(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # if memory runs out, the kernel should take a decoder, not the run
            Path("/proc/self/oom_score_adj").write_text("500")
    private.no_core_dumps()  # last: what is not dumpable may not write there
    if os.getppid() != parent:  # it died before the line above; elsewhere than on Linux, the closed pipe tells
        os._exit(0)


def _limit_memory(limit_bytes: int | None) -> None:
    """Allow `limit_bytes` of address space beyond what is in use now (None: all that the system allows)."""
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    allowed = most
    if limit_bytes is not None and Path("/proc/self/statm").exists():
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        allowed = in_use + limit_bytes if most == resource.RLIM_INFINITY else min(most, in_use + limit_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
