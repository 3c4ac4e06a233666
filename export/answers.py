"""The answers of a network to a split, slice by slice, in order; a file that cannot be read is an answer with a reason.

Holds one batch at a time: whoever reads the stream decides what to keep. Classes are counted elsewhere. `evaluate` and
`export` both go through here, so that they give the same figures of one file. Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, DeviceError, DeviceOutOfMemory, SliceError
from lits_deploy.runtime import Outputs, Runtime
from lits_deploy.scans import Slice
from lits_deploy.series import natural
from train.data.layout import Sample
from train.data.load import Load, load_sample
from train.data.masks import load_labelled
from train.data.seen import own_key
from train.data.volumes import named

NOT_FINITE = "the network's answer is not a finite number"


@dataclass(frozen=True, kw_only=True)
class LabelledAnswer:
    """What a network said of one slice, and what it should have said.

    number: of the slice in its volume; None where its name tells none. reason: why there is no answer, else None.
    target: class 0…2. key: of its pixels (`train.data.seen`), or None. logits: float32 [K] of a classifier; mask,
    labels: uint8 [S, S] of a U-Net.
    """

    sample: Sample
    number: int | None
    reason: str | None = None
    target: int | None = None
    key: int | None = None
    logits: npt.NDArray[np.float32] | None = None
    mask: npt.NDArray[np.uint8] | None = None
    labels: npt.NDArray[np.uint8] | None = None


@dataclass
class Identity:
    """A hash of all pictures and labels that were compared, in order: equal for equal data only."""

    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, name: str, picture: bytes, label: bytes) -> None:
        """One slice: its file's name and bytes, and its mask's pixels or its class."""
        for part in (os.fsencode(name), picture, label):
            self._hash.update(len(part).to_bytes(8, "little"))
            self._hash.update(part)

    def hexdigest(self) -> str:
        """Of what was added so far."""
        return str(self._hash.hexdigest())


def in_order(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """The order that answers are asked for in: by patient, scan, then slice."""
    return tuple(sorted(samples, key=lambda sample: (sample.patient, sample.scan, natural(sample.image.name))))


def answers(
    runtime: Runtime,
    read: Iterable[tuple[LabelledAnswer, Slice | None]],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Iterator[LabelledAnswer]:
    """What was read (`read_answer`) with its answers, in that order; `on_progress` gets the number done so far."""
    waiting: list[LabelledAnswer] = []
    slices: list[npt.NDArray[np.uint8]] = []
    done = 0
    for answer, picture in read:
        waiting.append(answer)
        if picture is not None:
            slices.append(picture)
        if len(slices) == runtime.max_batch:
            yield from _answered(runtime, waiting, slices)
            done += len(waiting)
            on_progress(done)
            waiting, slices = [], []
    yield from _answered(runtime, waiting, slices)
    on_progress(done + len(waiting))


def read_answer(
    sample: Sample, contract: InputContract, identity: Identity, load: Load | None = None
) -> tuple[LabelledAnswer, Slice | None]:
    """A sample with its truth, or the reason why it cannot be used, added to `identity`; and the network's input.

    load: of whoever keeps the slices; without it they are decoded from the very bytes that are hashed.
    """
    _, number = named(sample.image.name)
    try:
        data = sample.image.read_bytes()
        picture = load_sample(sample, contract, None if load else data, load=load)
    except SliceError as error:
        return LabelledAnswer(sample=sample, number=number, reason=str(error)), None
    except OSError as error:
        return LabelledAnswer(sample=sample, number=number, reason=error.strerror or "cannot be read"), None
    try:
        target, mask = load_labelled(sample, contract.size)
    except DataError as error:
        reason = error.message.replace(str(sample.mask), "its mask")
        return LabelledAnswer(sample=sample, number=number, reason=f"{reason.rstrip('.')}: {error.fix}"), None
    identity.add(sample.image.name, data, str(target).encode() if mask is None else mask.tobytes())
    return LabelledAnswer(sample=sample, number=number, target=target, mask=mask, key=own_key(picture)), picture


def _answered(
    runtime: Runtime, waiting: list[LabelledAnswer], slices: list[npt.NDArray[np.uint8]]
) -> Iterator[LabelledAnswer]:
    parts = _infer(runtime, np.stack(slices)) if slices else []
    logits = _joined([part.logits for part in parts])
    labels = _joined([part.labels for part in parts])
    index = 0
    for answer in waiting:
        if answer.reason is not None:
            yield answer
            continue
        row = None if logits is None else logits[index]
        finite = row is None or bool(np.isfinite(row).all())
        yield replace(
            answer,
            reason=None if finite else NOT_FINITE,
            logits=row if finite else None,
            mask=None if labels is None else answer.mask,
            labels=None if labels is None else labels[index],
        )
        index += 1


def _infer(runtime: Runtime, batch: npt.NDArray[np.uint8]) -> list[Outputs]:
    """A batch in one go, or in halves where the device has no memory for it."""
    try:
        return [runtime.infer(batch)]
    except DeviceOutOfMemory as error:
        if len(batch) == 1:
            raise DeviceError(f"The device has no memory for one slice ({error}).", fix="--device cpu") from error
        half = len(batch) // 2
        return [*_infer(runtime, batch[:half]), *_infer(runtime, batch[half:])]


def _joined(parts: list[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None
