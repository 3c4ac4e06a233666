"""The slices a benchmark runs on: distinct ones, with their targets where there are any, and where they come from.

In this order: the test split of `--data`; that of the run's own data set; phantoms, made here and never trained on;
the bundle's goldens. Needs neither torch nor a runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.same_slices import KEY, sha256_of_samples
from export.answers import Identity
from lits_deploy.bundle import Bundle
from lits_deploy.contract import InputContract, Task, window_to_uint8
from lits_deploy.errors import ContractError, DataError, SliceError
from lits_deploy.goldens import read_golden
from lits_deploy.synthetic import CAVEAT, MARK, is_synthetic
from train.data.layout import SPLITS, Layout, Sample, layout_for
from train.data.load import fitted_slice, load_sample
from train.data.masks import class_of, fitted_mask, load_labelled
from train.data.seen import Past, of_bundle, own_key
from train.data.spread import evenly

Slices = npt.NDArray[np.uint8]

MOST = 2048
"""Most slices held in memory (64 KiB each); from a larger split they are taken evenly."""

PHANTOMS, QUICK_SLICES = 256, 96

SEED = 20_230_402
"""Seed of the phantoms: neither a likely one of training nor the one of goldens and parity."""

WINDOW_HU = (-40.0, 160.0)
"""Window of phantoms for a bundle without one, in HU: the one of the LiTS slices."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Slices uint8 [N, C, S, S] and what is known about them.

    targets: int64 [N] classes; masks: uint8 [N, S, S], only for a U-Net; None where there are none.
    files: of the slices, one each, for the end-to-end rows; empty where the slices were made here.
    about: `name` of the data set, `split`, `split_by` (patient, slice or None), `slices`, `of`, `unreadable`,
    `test_set_sha256` (`benchmarks.same_slices`) and, of phantoms, `synthetic`.
    """

    slices: Slices
    targets: npt.NDArray[np.int64] | None = None
    masks: npt.NDArray[np.uint8] | None = None
    files: tuple[Path, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """The data in words, for tables and plots."""
        about = self.about
        split = f", {about['split']} split" if about.get("split") else ""
        by = f" by {about['split_by']}" if about.get("split_by") else ""
        part = "" if about["slices"] == about["of"] else f" of {about['of']:,}, evenly spread"
        mark = f" {MARK}" if self.synthetic else ""
        return f"{about['name']}{split}{by}: {about['slices']:,}{mark} slices{part}"

    @property
    def synthetic(self) -> bool:
        """True for phantoms: figures on them are none of patients."""
        return is_synthetic(self.about)


def choose_inputs(
    bundle: Bundle,
    data: Path | None,
    *,
    of_run: Path | None = None,
    quick: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Inputs:
    """The slices for a bundle. data: as the user gave it; of_run: the data set of the run to compare with, or None.

    Raises DataError where `data` is no data set, ContractError where its window is not the bundle's.
    """
    most = QUICK_SLICES if quick else MOST
    if data is None and of_run is not None and (of_run / "test").is_dir():
        data = of_run
    if data is not None:
        say(f"reading slices of {data}")
        return from_layout(bundle, data, most)
    if bundle.manifest.contract.size == 256:
        say("making phantoms (there is no --data)")
        return from_phantoms(bundle, min(most, PHANTOMS))
    return from_goldens(bundle)


def labelled_layout(data: Path, split: str, contract: InputContract, task: Task) -> Layout:
    """A data set whose split a network can be scored on.

    Raises DataError where there is no such split, or no masks for a U-Net; ContractError where the slices were made
    through another window than the network's.
    """
    layout = layout_for(data, split)
    if layout.window_hu and contract.window_hu and layout.window_hu != contract.window_hu:
        made, taken = (f"{low:g}…{high:g} HU" for low, high in (layout.window_hu, contract.window_hu))
        raise ContractError(
            f"{data} was made through the window {made}, the network takes {taken}.",
            fix="give --data with slices of the network's window",
        )
    if task == "segment" and any(sample.mask is None for sample in layout.splits[split]):
        raise DataError(f"{data / split} has no masks.", fix="a U-Net needs masks/, not targets.csv")
    return layout


def from_layout(bundle: Bundle, data: Path, most: int, split: str = "test") -> Inputs:
    """Slices of a split, evenly spread over it; a file that cannot be used is left out and counted."""
    contract, masks = bundle.manifest.contract, bundle.manifest.task == "segment"
    layout = labelled_layout(data, split, contract, bundle.manifest.task)
    samples = layout.splits[split]
    picked, loaded = _read(evenly(samples, most), contract)
    if not picked:
        raise DataError(f"No slice of {data / split} can be used.", fix="see `lits-deploy classify` for the reasons")
    labelled = [load_labelled(sample, contract.size) for sample in picked]
    targets, labels = [known.target for known in labelled], [known.mask for known in labelled]
    unreadable = min(len(samples), most) - len(picked)
    notes = [f"{unreadable} files of {data.name}/{split} could not be used"] if unreadable else []
    notes += [CAVEAT] if layout.synthetic else []
    whole = len(layout.splits) == len(SPLITS)
    notes += _past_notes(bundle, data, picked, loaded)
    return Inputs(
        slices=np.stack(loaded),
        targets=np.array(targets, dtype=np.int64),
        masks=np.stack([label for label in labels if label is not None]) if masks else None,
        files=tuple(sample.image for sample in picked),
        about=_about(
            data.resolve().name,
            len(picked),
            sha256_of_samples(picked),
            split=split,
            split_by=layout.split_by if whole or layout.split_by == "slice" else None,
            of=len(samples),
            unreadable=unreadable,
            patients=len({sample.patient for sample in picked}),
            synthetic=layout.synthetic,
        ),
        notes=tuple(notes),
    )


def from_phantoms(bundle: Bundle, count: int) -> Inputs:
    """`count` slices of phantoms, whole ones but for the last: they say that a bundle works, nothing about patients."""
    from train.phantom import make_phantom

    contract = bundle.manifest.contract
    window = contract.window_hu or WINDOW_HU
    pictures: list[Slices] = []
    labels: list[Slices] = []
    targets: list[int] = []
    identity, patient = Identity(), 0
    while len(pictures) < count:
        phantom = make_phantom(SEED, patient)
        volume = window_to_uint8(phantom.hu, window)
        for z, label in enumerate(phantom.labels[: count - len(pictures)]):
            pictures.append(fitted_slice(volume, z, contract))
            labels.append(fitted_mask(label, contract.size))
            targets.append(class_of(label))
            identity.add(f"phantom-{patient}_{z:04d}", phantom.hu[z].tobytes(), label.tobytes())
        patient += 1
    name, digest = f"phantoms (seed {SEED})", identity.hexdigest()
    return Inputs(
        slices=np.stack(pictures),
        targets=np.array(targets, dtype=np.int64),
        masks=np.stack(labels) if bundle.manifest.task == "segment" else None,
        about=_about(name, count, digest, patients=patient, synthetic=True),
        notes=(CAVEAT,),
    )


def from_goldens(bundle: Bundle) -> Inputs:
    """The bundle's goldens: few, and without targets, so without an accuracy."""
    slices, _ = read_golden(bundle)
    count, identity = len(slices), Identity()
    identity.add("goldens", slices.tobytes(), b"")
    return Inputs(
        slices=slices,
        about=_about("the bundle's goldens", count, identity.hexdigest()),
        notes=(f"only the bundle's {count} goldens were at hand: no accuracy, and inputs repeat after {count} slices",),
    )


def _about(name: str, count: int, digest: str, **more: Any) -> dict[str, Any]:
    known = {"name": name, "split": None, "split_by": None, "slices": count, "of": count, "unreadable": 0}
    return {**known, **more, KEY: digest}


def _read(samples: list[Sample], contract: InputContract) -> tuple[list[Sample], list[Slices]]:
    picked, loaded = [], []
    for sample in samples:
        try:
            loaded.append(load_sample(sample, contract))
        except (SliceError, OSError):
            continue
        picked.append(sample)
    return picked, loaded


def _past_notes(bundle: Bundle, data: Path, picked: list[Sample], loaded: list[Slices]) -> list[str]:
    """What the network has to do with the patients of these slices (`train.data.seen`)."""
    past = Past.of(of_bundle(bundle), bundle.manifest.training)
    keyed = [(sample.patient, own_key(picture)) for sample, picture in zip(picked, loaded, strict=True)]
    notes = []
    for split, what in (("train", "trained"), ("validate", "chosen")):
        if known := past.of_split(split, keyed):
            notes.append(f"NOT A TEST: the network was {what} on patients of this split: {', '.join(known)}")
    named = set(past.by_name("train", data, {patient for patient, _ in keyed})) - set(past.of_split("train", keyed))
    if named:
        notes.append(
            "NOT KNOWN whether this is a test: these have the numbers of patients that the network was trained on, in "
            f"a folder of the same name: {', '.join(sorted(named))}"
        )
    return notes
