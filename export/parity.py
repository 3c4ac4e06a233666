"""The parity gate: PyTorch against an artifact on a runtime, slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from export.source import Original
from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError, ParityError, SliceError
from lits_deploy.parity import Parity
from lits_deploy.runtime import Runtime
from train.data.layout import read_layout
from train.data.load import fitted_slice, load_sample
from train.data.spread import evenly
from train.phantom import make_phantom

MINIMUM = 256
"""Fewest slices the gate is held on."""

PHANTOM_SEED = 20_230_401
"""Seed of the phantoms that goldens and parity use; not one a user would train with by default."""

NamedSlices = tuple[list[str], npt.NDArray[np.uint8]]


def parity_slices(original: Original, count: int = MINIMUM) -> tuple[str, NamedSlices]:
    """Where the slices come from, their names, and uint8 [count, C, S, S].

    Slices of the validate split the network was chosen on, evenly spread, filled up with phantoms where there are
    fewer; phantoms alone where the training data is not at hand.
    """
    names: list[str] = []
    slices: list[npt.NDArray[np.uint8]] = []
    origin = "phantoms"
    if original.data is not None and (original.data / "validate").is_dir():
        try:
            samples = read_layout(original.data, ("validate",)).splits["validate"]
        except DataError:
            samples = ()
        for sample in evenly(samples, count):
            try:
                slices.append(load_sample(sample, original.contract))
            except SliceError:
                continue
            names.append(sample.image.stem)
        if slices:
            origin = f"{original.data.resolve().name}/validate" + (" and phantoms" if len(slices) < count else "")
    for name, phantom in phantom_slices(original, count - len(slices)):
        names.append(name)
        slices.append(phantom)
    return origin, (names, np.stack(slices))


def phantom_slices(original: Original, count: int) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """`count` named phantom slices through the contract's window (−40…160 HU where it has none).

    Each comes as it is and in its three mirror images, as training shows them: a patient takes a second to make.
    """
    window = original.contract.window_hu or (-40.0, 160.0)
    patient = 0
    while count > 0:
        phantom = make_phantom(PHANTOM_SEED, patient)
        pictures = window_to_uint8(phantom.hu, window)
        order = np.random.default_rng([PHANTOM_SEED, patient]).permutation(4 * len(pictures))[:count]
        for z, mirror in zip(*np.divmod(order, 4), strict=True):
            volume = pictures[:, :: -1 if mirror & 2 else 1, :: -1 if mirror & 1 else 1]
            yield f"phantom-{patient}_{z:04d}-{mirror}", fitted_slice(volume, z, original.contract)
        count -= len(order)
        patient += 1


def original_probabilities(original: Original, slices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """FP32 probabilities of the PyTorch module on the CPU, one batch."""
    with torch.inference_mode():
        outputs = dict(zip(original.module.outputs, original.module(torch.from_numpy(slices)), strict=True))
    probabilities: npt.NDArray[np.float32] = outputs["probabilities"].numpy()
    return probabilities


def gate(
    original: Original,
    runtime: Runtime,
    named: NamedSlices,
    tolerance: float,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Parity:
    """Compare both on all slices; raises ParityError, listing where they differ, if the rule does not hold."""
    names, slices = named
    parity = Parity(tolerance)
    for start in range(0, len(slices), runtime.max_batch):
        part = slices[start : start + runtime.max_batch]
        got = runtime.infer(part).probabilities
        assert got is not None
        parity.add(names[start : start + len(part)], original_probabilities(original, part), got)
        progress(len(part))
    if not parity.passed:
        verdict = parity.verdict()
        raise ParityError(
            f"The exported graph does not compute what the original does: max |Δp| {parity.max_delta:.2e} "
            f"(limit {tolerance:.0e}), {verdict['flipped']} of {parity.slices} slices flipped.\n  "
            + "\n  ".join(parity.lines()),
            fix="nothing was written; report this with the network's name and the versions of torch and onnxruntime",
        )
    return parity
