"""Which slices a network was trained on, by their pixels: names of files, patients and folders say nothing.

Training notes eight bytes of a hash of every slice's decoded pixels, split by split, in RUN/seen.bin; `export` puts the
file into the bundle. `evaluate`, `benchmark`, `export` and INT8 calibration all ask here whether a patient was trained
on: it was where one of its slices was. The hash is of the slice as the network reads it (its contract's side), so the
same pixels in another format, under another name or in another folder are found. A slice that was altered is another
one: saved as JPEG, brightened, scaled (`train.check.duplicates` finds those within one data set). Nobody gets a
pixel back from a hash; who has the pixels learns whether they were trained on, which is its purpose.

    seen.bin: one line of JSON {"schema": 1, "whole": …, "slices": {split: count}}, then the hashes of each split in
    that order, little-endian uint64, ascending

Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.bundle import SEEN, Bundle
from lits_deploy.contract import InputContract
from lits_deploy.errors import BundleError, DataError, SliceError
from lits_deploy.files import write_bytes
from lits_deploy.machine import cores
from train.data.layout import SPLITS, Layout, Sample, layout_for, plain
from train.data.load import Load, loader

SCHEMA = 1

FEWEST_GREYS = 16
"""A slice of fewer greys (all air, or air with a letter burned in) may be the same in two patients: not compared."""

Keyed = Iterable[tuple[str, int | None]]
"""Patient and key of slices."""

_LINE = 4096  # bytes of the first line at most
_EMPTY = np.zeros(0, np.uint64)


def key(picture: npt.NDArray[np.uint8]) -> int | None:
    """Eight bytes of a hash of one decoded slice uint8 [S, S]; None where its pixels tell no patient."""
    if sum(count > 0 for count in Image.fromarray(picture).histogram()) < FEWEST_GREYS:
        return None
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=8).digest(), "little")


def own_key(channels: npt.NDArray[np.uint8]) -> int | None:
    """The key of a network's input uint8 [C, S, S]: of the slice itself, whatever stands beside it."""
    return key(channels[len(channels) // 2])


def sample_keys(samples: Sequence[Sample], contract: InputContract, load: Load | None = None) -> list[int | None]:
    """The key of each sample's own slice, as the contract (or `load`) reads it; None for one that cannot be read."""
    load = load or loader(contract)

    def one(sample: Sample) -> int | None:
        try:
            return key(load(sample.image)[0])
        except (SliceError, OSError):
            return None

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, samples))


@dataclass(frozen=True, kw_only=True)
class SeenSlices:
    """Keys of the slices of a training, ascending uint64 by split: `train` taught it, `validate` chose the epoch.

    whole: False where epochs went before of which nothing was noted.
    """

    splits: Mapping[str, npt.NDArray[np.uint64]]
    whole: bool = True

    def keys(self, *splits: str) -> set[int]:
        """The keys of these splits."""
        return {int(value) for split in splits for value in self.splits.get(split, _EMPTY)}

    def joined(self, other: SeenSlices) -> SeenSlices:
        """Everything that either has seen."""
        splits = [split for split in SPLITS if split in self.splits or split in other.splits]
        both = {s: np.union1d(self.splits.get(s, _EMPTY), other.splits.get(s, _EMPTY)) for s in splits}
        return SeenSlices(splits=both, whole=self.whole and other.whole)

    def with_validate(self, keys: Iterable[int]) -> SeenSlices:
        """As if these slices had stood in validate: something was fitted on them."""
        return self.joined(SeenSlices(splits={"validate": np.array(sorted(keys), np.uint64)}))

    def to_bytes(self) -> bytes:
        """The file's content."""
        counts = {split: len(values) for split, values in self.splits.items()}
        head = json.dumps({"schema": SCHEMA, "whole": self.whole, "slices": counts})
        return b"\n".join([head.encode(), b"".join(values.astype("<u8").tobytes() for values in self.splits.values())])

    @classmethod
    def from_bytes(cls, data: bytes) -> SeenSlices:
        """Read back what `to_bytes` wrote; ValueError for anything else."""
        line = data[:_LINE].partition(b"\n")[0]
        body = data[len(line) + 1 :]
        try:
            head = json.loads(line)
        except RecursionError:
            raise ValueError("its first line is not what it must be") from None
        if not isinstance(head, dict) or head.get("schema") != SCHEMA or not isinstance(head.get("whole"), bool):
            raise ValueError("its first line is not what it must be")
        counts = head.get("slices")
        if not isinstance(counts, dict) or not all(type(n) is int and n >= 0 for n in counts.values()):
            raise ValueError("its counts are no numbers")
        if set(counts) - set(SPLITS) or 8 * sum(counts.values()) != len(body):
            raise ValueError("its length is not what its first line says")
        values = np.frombuffer(body, "<u8").astype(np.uint64)
        parts = np.split(values, np.cumsum(list(counts.values()))[:-1]) if counts else []
        return cls(splits=dict(zip(counts, parts, strict=True)), whole=head["whole"])


def note(run: Path, images: Mapping[str, npt.NDArray[np.uint8]], *, first: bool) -> int:
    """Add the slices of each split, uint8 [N, 1, S, S], to what a run has seen, before an epoch is trained on them.

    first: no epoch went before, so whatever lies there is of a start that failed. What was noted before a `--resume`
    stays. Returns how many slices of validate and test it trains on or has trained on.
    """
    splits = {}
    with ThreadPoolExecutor(cores()) as pool:
        for split, slices in images.items():
            found = {value for value in pool.map(own_key, slices) if value is not None}
            splits[split] = np.array(sorted(found), np.uint64)
    before = None if first else of_run(run)
    now = SeenSlices(splits=splits, whole=first or before is not None)
    every = now if before is None else now.joined(before)
    write_bytes(run / SEEN, every.to_bytes())
    return len(now.keys("validate", "test") & every.keys("train"))


def of_run(run: Path) -> SeenSlices | None:
    """What a training run noted; None for one that was made before there were notes. DataError for a damaged file."""
    if not (run / SEEN).is_file():
        return None
    try:
        return SeenSlices.from_bytes((run / SEEN).read_bytes())
    except ValueError as error:
        raise DataError(f"{run / SEEN} is damaged ({error}).", fix="copy the run again") from error


def of_bundle(bundle: Bundle) -> SeenSlices | None:
    """What a bundle brings; None for one that was made before there were notes, or of bare weights."""
    data = bundle.seen()
    try:
        return None if data is None else SeenSlices.from_bytes(data)
    except ValueError as error:
        raise BundleError(f"{SEEN} is not one of ours ({error}).", fix="export again") from error


@dataclass(frozen=True, kw_only=True)
class Past:
    """What is known of a network's training: its slices, and what its data sets were called.

    datasets: as `Layout.describe` described them. Names decide only where slices were not noted: then patients of the
    same number in a folder of the same name are taken for the same ones, which may be wrong.
    """

    seen: SeenSlices | None = None
    datasets: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, seen: SeenSlices | None, training: Mapping[str, Any]) -> Past:
        """From the `training` record of a run or a manifest."""
        earlier = training.get("earlier_datasets")
        found = [training.get("dataset"), *(earlier if isinstance(earlier, list) else [])]
        return cls(seen=seen, datasets=tuple(one for one in found if isinstance(one, Mapping)))

    @property
    def whole(self) -> bool:
        """Whether every slice that it was ever trained on was noted."""
        return self.seen is not None and self.seen.whole

    def of_split(self, split: str, keyed: Keyed) -> list[str]:
        """The patients of which a slice stood in that split of its training, sorted."""
        known = set() if self.seen is None else self.seen.keys(split)
        return sorted({patient for patient, value in keyed if value in known})

    def by_name(self, split: str, root: Path, patients: Iterable[str]) -> list[str]:
        """The patients that the names alone give away, where not every slice was noted; else none."""
        if self.whole:
            return []
        named = [one for one in self.datasets if one.get("name") == root.resolve().name]
        splits = [one["patients"] for one in named if isinstance(one.get("patients"), Mapping)]
        listed = [own[split] for own in splits if isinstance(own.get(split), list)]
        return sorted(set(patients) & {patient for own in listed for patient in own if isinstance(patient, str)})


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """The slices of a split that are fit to check on, or to fit on: of patients that were not trained on.

    left_out: the patients that were, sorted. keys: of the samples, where the training noted any; known: whether it
    noted all.
    """

    layout: Layout
    samples: tuple[Sample, ...]
    left_out: tuple[str, ...] = ()
    keys: frozenset[int] = frozenset()
    known: bool = True


def unseen(
    root: Path | None,
    split: str,
    contract: InputContract,
    past: Past,
    load: Load | None = None,
    *,
    layout: Layout | None = None,
) -> Unseen | None:
    """A split without the patients that the network was trained on; None where the split is not at hand or not whole.

    A patient is looked for in every split: where it was trained on by another slice, it was trained on. load: how a
    slice is read, for whoever keeps them (`train.data.load`). layout: the splits, where they are not those of the
    folders.
    """
    if root is None or not (root / split).is_dir():
        return None
    try:
        layout = layout or layout_for(root, split)
    except DataError:
        return None
    patients = set(layout.patients(split))
    people = {plain(patient) for patient in patients}
    theirs = [sample for samples in layout.splits.values() for sample in samples if plain(sample.patient) in people]
    keys = {} if past.seen is None else dict(zip(theirs, sample_keys(theirs, contract, load), strict=True))
    trained = past.of_split("train", [(sample.patient, value) for sample, value in keys.items()])
    taught = {plain(patient) for patient in (*trained, *past.by_name("train", root, patients))}
    left_out = tuple(sorted(patient for patient in patients if plain(patient) in taught))
    samples = tuple(sample for sample in layout.splits[split] if sample.patient not in left_out)
    return Unseen(
        layout=layout,
        samples=samples,
        left_out=left_out,
        known=past.whole,
        keys=frozenset(value for sample in samples if (value := keys.get(sample)) is not None),
    )
