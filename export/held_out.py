"""What a network is held against at export, read once: slices it was not trained on, with their truth, and phantoms.

Parity, calibration, gates, figures and goldens all take theirs from here, for every artifact. Each file is decoded once
and each phantom made once. Memory: S² bytes for a slice of validate and test, and as many for a U-Net's mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.answers import Identity, LabelledAnswer, in_order, read_answer
from export.parity import NamedSlices, original_probabilities
from export.source import Original
from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import SliceError
from lits_deploy.scans import Slice
from lits_deploy.scans.paths import escape
from train.data.layout import Layout, Sample
from train.data.load import fitted_slice, load_sample, loader
from train.data.masks import class_of, fitted_mask
from train.data.seen import Unseen, unseen
from train.data.spread import evenly
from train.phantom import make_phantom

PHANTOM_SEED = 20_230_401
"""Seed of the phantoms; not one a user would train with by default."""

PHANTOM_PATIENTS = 3
"""Phantoms that a gate is held on where no validate split is at hand: about 120 slices."""

GOLDENS = {"classify": 16, "segment": 4}
"""Golden slices by task: a U-Net's outputs are 786 kB a slice."""

MOST = 2_048
"""Slices that a gate is held on, and a temperature fitted on, at most: evenly spread over the split."""

FEW = 100
"""Slices under which a share says little: 0.2 % of 100 is no slice at all."""


@dataclass(frozen=True, kw_only=True)
class GateSlice:
    """One slice of a gate: uint8 [C, S, S], its true class, its label map uint8 [S, S] where there is one."""

    name: str
    patient: str
    target: int
    picture: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8] | None


class HeldOut:
    """The splits and phantoms that one original is held against, for its contract; nothing is read before it is asked
    for."""

    def __init__(self, original: Original) -> None:
        self.original, self.contract = original, original.contract
        self._load = loader(self.contract)
        self._slices: dict[Path, Slice | SliceError | OSError] = {}
        self._unseen: dict[str, Unseen | None] = {}
        self._read: dict[str, tuple[tuple[LabelledAnswer, ...], str]] = {}
        self._phantoms: dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = {}

    def own(self, path: Path) -> Slice:
        """A file's own slice, uint8 [1, S, S]; SliceError or OSError, every time, where it cannot be used."""
        if path not in self._slices:
            try:
                self._slices[path] = self._load(path)
            except (SliceError, OSError) as error:
                self._slices[path] = error
        found = self._slices[path]
        if isinstance(found, Exception):
            raise found
        return found

    def passing(self, path: Path) -> Slice:
        """The same of a file that nobody will ask for again: a train split has many, so it is not kept."""
        return self.own(path) if path in self._slices else self._load(path)

    def load(self, sample: Sample) -> Slice:
        """A sample with its neighbours, uint8 [C, S, S]; raises as `own`."""
        return load_sample(sample, self.contract, load=self.own)

    def unseen(self, split: str) -> Unseen | None:
        """A split of the data without the patients that were trained on; None where it is not at hand."""
        if split not in self._unseen:
            original = self.original
            self._unseen[split] = unseen(
                original.data, split, self.contract, original.past, self.own, layout=self.layout
            )
        return self._unseen[split]

    @property
    def layout(self) -> Layout | None:
        """The splits of a folded run's network; None where they are those of the data set's folders."""
        return self.original.folded.layout if self.original.folded else None

    def named(self, split: str) -> str:
        """What readers see a split at hand called."""
        folded, found = self.original.folded, self.unseen(split)
        assert found is not None
        if folded is not None and folded.layout is not None:
            return folded.named(split)
        return f"{found.layout.root.resolve().name}/{split}"

    def fits(self, split: str) -> bool:
        """Whether a split's slices are made for the network: of its window, with masks for a U-Net."""
        found = self.unseen(split)
        if found is None or not found.samples:
            return False
        window, wanted = found.layout.window_hu, self.contract.window_hu
        if None not in (window, wanted) and window != wanted:
            return False
        return self.original.info.task == "classify" or all(sample.mask is not None for sample in found.samples)

    def read(self, split: str) -> tuple[tuple[LabelledAnswer, ...], str]:
        """The unseen slices of a split in the order of `evaluate`, yet without answers; and the hash that it has."""
        if split not in self._read:
            identity = Identity()
            samples = in_order(self._gate_samples(split))
            read = [read_answer(sample, self.contract, identity, self.own)[0] for sample in samples]
            if self.original.info.task == "classify":  # the masks gave the classes, and are large
                read = [replace(answer, mask=None) for answer in read]
            self._read[split] = tuple(read), identity.hexdigest()
        return self._read[split]

    def pictured(self, split: str) -> Iterator[tuple[LabelledAnswer, Slice | None]]:
        """The same with the network's input, as `export.answers.answers` takes them."""
        for answer in self.read(split)[0]:
            yield answer, self.load(answer.sample) if answer.reason is None else None

    def parity(self, count: int) -> tuple[str, NamedSlices]:
        """Where the slices come from, their names, and uint8 [count, C, S, S].

        Slices of the validate split that the network was chosen on, evenly spread, filled up with phantoms where there
        are fewer; phantoms alone where the training data is not at hand.
        """
        names: list[str] = []
        slices: list[Slice] = []
        origin, found = "phantoms", self.unseen("validate")
        for sample in evenly(found.layout.splits["validate"], count) if found else ():
            try:
                slices.append(self.load(sample))
            except (SliceError, OSError):
                continue
            names.append(sample.image.stem)
        if found and slices:
            origin = self.named("validate") + (" and phantoms" if len(slices) < count else "")
        for name, phantom in self.phantoms(count - len(slices)):
            names.append(name)
            slices.append(phantom)
        return origin, (names, np.stack(slices))

    def phantoms(self, count: int) -> Iterator[tuple[str, Slice]]:
        """`count` named phantom slices through the contract's window (−40…160 HU where it has none).

        Each comes as it is and in its three mirror images, as training shows them: a patient takes a second to make.
        """
        patient = 0
        while count > 0:
            pictures, _ = self._phantom(patient)
            order = np.random.default_rng([PHANTOM_SEED, patient]).permutation(4 * len(pictures))[:count]
            for z, mirror in zip(*np.divmod(order, 4), strict=True):
                volume = pictures[:, :: -1 if mirror & 2 else 1, :: -1 if mirror & 1 else 1]
                yield f"phantom-{patient}_{z:04d}-{mirror}", fitted_slice(volume, z, self.contract)
            count -= len(order)
            patient += 1

    @cached_property
    def goldens(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Phantom slices uint8 [N, C, S, S] and the original's probabilities."""
        slices = np.stack([picture for _, picture in self.phantoms(GOLDENS[self.original.info.task])])
        return slices, original_probabilities(self.original, slices)

    @cached_property
    def gated(self) -> tuple[Sample, ...]:
        """What a gate is held on: unseen slices of validate, evenly spread; none where phantoms stand in.

        Of a folded run's network that was trained on all patients: slices that it was trained on (`note` says so).
        """
        return tuple(evenly(self._gate_samples("validate"), MOST))

    def _gate_samples(self, split: str) -> tuple[Sample, ...]:
        found = self.unseen(split)
        if found is None:
            return ()
        return found.samples or (found.layout.splits[split] if self.layout is not None else ())

    @property
    def origin(self) -> str:
        """Where those come from."""
        return self.named("validate") if self.gated else "phantoms"

    def note(self) -> str | None:
        """What a reader of a gate's verdict must know, in one line; None where there is nothing."""
        found = self.unseen("validate")
        left_out = found.left_out if found else ()
        if not self.gated:
            why = "it was trained on every validate patient" if left_out else "no validate split was at hand"
            return f"checked on phantoms alone: {why}; says nothing about patients"
        notes = [f"{len(left_out)} validate patients that it was trained on are left out"] if left_out else []
        if found is not None and not found.samples:
            notes = [
                "checked on patients that it was trained on, for there are no others: says what the file changes only"
            ]
        if len(self.gated) < FEW:
            notes.append(f"checked on {len(self.gated)} slices only")
        return "; ".join(notes) or None

    def gate_slices(self) -> Iterator[GateSlice]:
        """The slices of a gate, as far as they can be used."""
        read = {answer.sample: answer for answer in self.read("validate")[0]} if self.gated else {}
        for sample in self.gated:
            answer = read[sample]
            if answer.target is not None and (answer.mask is not None or self.original.info.task == "classify"):
                yield GateSlice(
                    name=escape(sample.image.stem),
                    patient=sample.patient,
                    target=answer.target,
                    picture=self.load(sample),
                    mask=answer.mask,
                )
        for patient in () if self.gated else range(PHANTOM_PATIENTS):
            pictures, labels = self._phantom(patient)
            for z, mask in enumerate(labels):
                yield GateSlice(
                    name=f"phantom-{patient}_{z:04d}",
                    patient=f"phantom-{patient}",
                    target=class_of(mask),
                    picture=fitted_slice(pictures, z, self.contract),
                    mask=fitted_mask(mask, self.contract.size),
                )

    def _phantom(self, patient: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Pictures and labels uint8 [Z, S, S]."""
        if patient not in self._phantoms:
            made = make_phantom(PHANTOM_SEED, patient)
            self._phantoms[patient] = window_to_uint8(made.hu, self.contract.window_hu or (-40.0, 160.0)), made.labels
        return self._phantoms[patient]
