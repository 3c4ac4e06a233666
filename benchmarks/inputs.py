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
from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.errors import ContractError, DataError, SliceError
from lits_deploy.goldens import read_golden
from lits_deploy.scans import Slice
from lits_deploy.synthetic import BESIDE, MARK, is_synthetic
from train.data.layout import SPLITS, Sample, layout_for
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

    names: tuple[str, ...]
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


def from_layout(bundle: Bundle, data: Path, most: int, split: str = "test") -> Inputs:
    """Slices of a split, evenly spread over it; a file that cannot be used is left out and counted."""
    layout = layout_for(data, split)
    contract, masks = bundle.manifest.contract, bundle.manifest.task == "segment"
    if None not in (layout.window_hu, contract.window_hu) and layout.window_hu != contract.window_hu:
        raise ContractError(
            f"{data} was made through the window {layout.window_hu} HU, the network takes {contract.window_hu}.",
            fix="give --data with slices of the network's window",
        )
    samples = layout.splits[split]
    if masks and samples[0].mask is None:
        raise DataError(f"{data / split} has no masks.", fix="a U-Net needs masks/, not targets.csv")
    picked, loaded = _read(evenly(samples, most), contract)
    if not picked:
        raise DataError(f"No slice of {data / split} can be used.", fix="see `lits-deploy classify` for the reasons")
    labelled = [load_labelled(sample, contract.size) for sample in picked]
    targets, labels = [known.target for known in labelled], [known.mask for known in labelled]
    unreadable = min(len(samples), most) - len(picked)
    notes = [f"{unreadable} files of {data.name}/{split} could not be used"] if unreadable else []
    notes += [BESIDE] if layout.synthetic else []
    about, whole = layout.describe(), len(layout.splits) == len(SPLITS)
    notes += _past_notes(bundle, data, picked, loaded)
    return Inputs(
        names=tuple(sample.image.stem for sample in picked),
        slices=np.stack(loaded),
        targets=np.array(targets, dtype=np.int64),
        masks=np.stack([label for label in labels if label is not None]) if masks else None,
        files=tuple(sample.image for sample in picked),
        about={
            "name": about["name"], "split": split,
            "split_by": about["split_by"] if whole or about["split_by"] == "slice" else None,
            "slices": len(picked), "of": len(samples), "unreadable": unreadable,
            "patients": len({sample.patient for sample in picked}),
            "synthetic": layout.synthetic,
            KEY: sha256_of_samples(picked),
        },
        notes=tuple(notes),
    )  # fmt: skip


def from_phantoms(bundle: Bundle, count: int) -> Inputs:
    """`count` slices of phantoms, whole ones but for the last: they say that a bundle works, nothing about patients."""
    from train.phantom import make_phantom

    contract = bundle.manifest.contract
    window = contract.window_hu or WINDOW_HU
    names: list[str] = []
    pictures: list[Slice] = []
    labels: list[Slice] = []
    targets: list[int] = []
    identity = Identity()
    patient = 0
    while len(names) < count:
        phantom = make_phantom(SEED, patient)
        take = min(count - len(names), len(phantom.hu))
        names += [f"phantom-{patient}_{z:04d}" for z in range(take)]
        volume = window_to_uint8(phantom.hu, window)
        pictures += [fitted_slice(volume, z, contract) for z in range(take)]
        labels += [fitted_mask(mask, contract.size) for mask in phantom.labels[:take]]
        targets += map(class_of, phantom.labels[:take])
        for name, hu, label in zip(names[-take:], phantom.hu, phantom.labels, strict=False):
            identity.add(name, hu.tobytes(), label.tobytes())
        patient += 1
    return Inputs(
        names=tuple(names),
        slices=np.stack(pictures),
        targets=np.array(targets, dtype=np.int64),
        masks=np.stack(labels) if bundle.manifest.task == "segment" else None,
        about={
            "name": f"phantoms (seed {SEED})", "split": None, "split_by": None, "slices": count, "of": count,
            "unreadable": 0, "patients": patient, "synthetic": True,
            KEY: identity.hexdigest(),
        },
        notes=(BESIDE,),
    )  # fmt: skip


def from_goldens(bundle: Bundle) -> Inputs:
    """The bundle's goldens: few, and without targets, so without an accuracy."""
    slices, _ = read_golden(bundle)
    count, identity = len(slices), Identity()
    identity.add("goldens", slices.tobytes(), b"")
    return Inputs(
        names=tuple(f"golden {index}" for index in range(count)),
        slices=slices,
        about={
            "name": "the bundle's goldens",
            "split": None,
            "split_by": None,
            "slices": count,
            "of": count,
            "unreadable": 0,
            KEY: identity.hexdigest(),
        },
        notes=(f"only the bundle's {count} goldens were at hand: no accuracy, and inputs repeat after {count} slices",),
    )


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
    trained, chosen = past.of_split("train", keyed), past.of_split("validate", keyed)
    notes = []
    if trained:
        notes.append(f"NOT A TEST: the network was trained on patients of this split: {', '.join(trained)}")
    if chosen:
        notes.append(f"NOT A TEST: the network was chosen on patients of this split: {', '.join(chosen)}")
    if named := sorted(set(past.by_name("train", data, {patient for patient, _ in keyed})) - set(trained)):
        notes.append(
            "NOT KNOWN whether this is a test: these have the numbers of patients that the network was trained on, in "
            f"a folder of the same name: {', '.join(named)}"
        )
    return notes
