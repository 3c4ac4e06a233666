"""The slices a gate is held on: the validate split with its truth, or phantoms where it is not at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.parity import PHANTOM_SEED
from export.source import Original
from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError, SliceError
from lits_deploy.scans.paths import escape
from train.data.layout import Sample
from train.data.load import fitted_slice, load_sample
from train.data.masks import class_of, fitted_mask, load_labelled
from train.data.spread import evenly
from train.phantom import make_phantom

MOST = 2_048
"""Slices at most, evenly spread over the split."""

FEW = 100
"""Slices under which a share says little: 0.2 % of 100 is no slice at all."""

PHANTOM_PATIENTS = 3
"""About 120 slices."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One slice: uint8 [C, S, S], its true class, its label map uint8 [S, S] where there is one."""

    name: str
    patient: str
    target: int
    picture: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, kw_only=True)
class GateSlices:
    """Where the slices come from, how many there are (some may not be readable), and whether patients are real.

    left_out: patients of the split that the network was trained on, on whom nothing is judged.
    """

    origin: str
    samples: tuple[Sample, ...]
    original: Original
    left_out: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Slices that will come, at most; of phantoms about as many."""
        return len(self.samples) or 40 * PHANTOM_PATIENTS

    @property
    def phantoms(self) -> bool:
        """True where no validate split was at hand."""
        return not self.samples

    def note(self) -> str | None:
        """What a reader of the verdict must know, in one line; None where there is nothing."""
        if self.phantoms:
            why = "it was trained on every validate patient" if self.left_out else "no validate split was at hand"
            return f"judged on phantoms alone: {why}; says nothing about patients"
        notes = [f"{len(self.left_out)} validate patients that it was trained on are left out"] if self.left_out else []
        if len(self.samples) < FEW:
            notes.append(f"judged on {len(self.samples)} slices only")
        return "; ".join(notes) or None

    def __iter__(self) -> Iterator[Judged]:
        return self._phantoms() if self.phantoms else self._validate()

    def _validate(self) -> Iterator[Judged]:
        contract, masks = self.original.contract, self.original.info.task == "segment"
        for sample in self.samples:
            try:
                picture = load_sample(sample, contract)
                target, mask = load_labelled(sample, contract.size)
            except (SliceError, DataError):
                continue
            if mask is not None or not masks:
                yield Judged(
                    name=escape(sample.image.stem), patient=sample.patient, target=target, picture=picture, mask=mask
                )

    def _phantoms(self) -> Iterator[Judged]:
        contract = self.original.contract
        for patient in range(PHANTOM_PATIENTS):
            phantom = make_phantom(PHANTOM_SEED, patient)
            pictures = window_to_uint8(phantom.hu, contract.window_hu or (-40.0, 160.0))
            for z, mask in enumerate(phantom.labels):
                yield Judged(
                    name=f"phantom-{patient}_{z:04d}", patient=f"phantom-{patient}", target=class_of(mask),
                    picture=fitted_slice(pictures, z, contract), mask=fitted_mask(mask, contract.size),
                )  # fmt: skip


def gate_slices(original: Original, *, most: int = MOST) -> GateSlices:
    """The validate split of the data, without patients that were trained on, evenly spread, or phantoms."""
    found = original.unseen("validate")
    if found is None or not found.samples:
        left_out = () if found is None else found.left_out
        return GateSlices(origin="phantoms", samples=(), original=original, left_out=left_out)
    return GateSlices(
        origin=f"{found.layout.root.resolve().name}/validate",
        samples=tuple(evenly(found.samples, most)), original=original, left_out=found.left_out,
    )  # fmt: skip
