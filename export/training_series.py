"""The series that a network was trained on, as its bundle sees them: what other series are held against (`drift`).

Pixels go through the functions of `classify`, slice by slice, in the bundle's size; HU, spacing, scanner and kernel are
what dataset.json has noted. Answers must be of networks that had not seen the patient, for they are surer of those that
they have: out of fold where the run has folds, else those on validate patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.answers import LabelledAnswer
from export.evidence import of_folds
from export.held_out import HeldOut
from export.progress import ExportProgress
from export.source import Original
from lits_deploy.bundle import Artifact
from lits_deploy.decode.checksum import checksum
from lits_deploy.drift.portrait import Portrait, by_answers, by_looks, by_size
from lits_deploy.drift.reference import DriftReference, reference_of
from lits_deploy.errors import SliceError
from lits_deploy.manifest_check import is_number
from lits_deploy.operating_point import VALIDATE
from lits_deploy.pipeline.decide import softmax
from lits_deploy.scans import Slice
from lits_deploy.scans.appearance import chosen, look, packed
from lits_deploy.scans.gates import grey_doubt
from lits_deploy.scans.paths import escape
from lits_deploy.series import natural
from train.data import technique
from train.data.in_hu import noted
from train.data.layout import Layout, Sample

SPLITS = ("train", "validate")
"""Of these splits the series are."""


@dataclass(frozen=True, kw_only=True)
class SeriesAnswers:
    """Logits float32 [3] of slices, of networks that had not seen the patient, and how they are read.

    logits: by the picture's path below the data set's folder, escaped. source: where they come from, for the record.
    """

    logits: Mapping[str, npt.NDArray[np.float32]]
    temperature: float
    abstain_below: float | None
    source: str

    def numbers(self, pictures: Sequence[str]) -> dict[str, float]:
        """What a series' answers give; nothing where it has none."""
        found = [self.logits[path] for path in pictures if path in self.logits]
        if not found:
            return {}
        probabilities = softmax(np.stack(found), self.temperature)
        below = 0.0 if self.abstain_below is None else self.abstain_below
        return by_answers(probabilities, int((probabilities.max(axis=1) < np.float32(below)).sum()))


def kept_of_training(
    held: HeldOut, artifact: Artifact, answers: Sequence[LabelledAnswer], observer: ExportProgress
) -> DriftReference | None:
    """The reference that a bundle keeps; None where its training series are not at hand, or of another window.

    answers: of the file, on validate patients that it was not trained on; those out of fold go before them.
    """
    found = held.unseen("validate")
    layout = None if found is None else found.layout
    if layout is None or "train" not in layout.splits or layout.window_hu not in (None, held.contract.window_hu):
        observer.say("nothing is kept of its training series: they are not at hand, or of another window")
        return None
    answered = _answered(held.original, layout, artifact, answers)
    observer.phase("training series", count(layout))
    reference = training_series(layout, held.passing, answered, progress=observer.progress)
    observer.say(
        f"kept of its {reference.series} training series: {len(reference.numbers)} numbers of each, for `drift`"
    )
    return reference


def _answered(
    original: Original, layout: Layout, artifact: Artifact, answers: Sequence[LabelledAnswer]
) -> SeriesAnswers | None:
    evidence = original.out_of_fold
    if evidence is None and original.folded is not None:
        if original.info.task != "classify":
            return None
        evidence = of_folds(original.folded.answers)
    if evidence is None:
        logits = {path_of(layout, one.sample): one.logits for one in answers if one.logits is not None}
    else:
        logits = dict(zip(evidence.paths, evidence.logits, strict=True))
    if not logits:
        return None
    return SeriesAnswers(
        logits=logits,
        temperature=artifact.temperature,
        abstain_below=artifact.abstain_below,
        source=VALIDATE if evidence is None else evidence.source,
    )


def training_series(
    layout: Layout,
    load: Callable[[Path], Slice],
    answered: SeriesAnswers | None = None,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> DriftReference:
    """The series of train and validate, each patient's scans.

    load: a picture → its own slice uint8 [1, S, S], or SliceError. progress: called with 1 for every slice.
    """
    portraits = []
    for samples in scans_of(layout):
        pictures, looks = [], []
        for index, sample in enumerate(samples):
            progress(1)
            if (pixels := _usable(sample.image, load)) is not None:
                pictures.append(path_of(layout, sample))
                if chosen(checksum(pixels)) and (seen := look(pixels)):
                    looks.append((index, packed(seen)))
        numbers = by_looks(looks, ordered=bool(samples[0].row))
        numbers |= _declared(layout, samples[0]) | (answered.numbers(pictures) if answered else {})
        made_with = technique.noted(layout.declared, samples[0].scan)
        if isinstance(thickness := made_with.pop("thickness_mm", None), float):
            numbers["thickness_mm"] = thickness
        portraits.append(Portrait(numbers=numbers, technique={name: str(word) for name, word in made_with.items()}))
    described = layout.describe()
    return reference_of(
        portraits,
        data=f"{described['name']}/{'+'.join(split for split in SPLITS if split in layout.splits)}",
        synthetic=layout.synthetic,
        answers=answered.source if answered else None,
    )


def path_of(layout: Layout, sample: Sample) -> str:
    """Of a slice's picture, as answers are kept by it."""
    return escape(sample.image.relative_to(layout.root).as_posix())


def count(layout: Layout) -> int:
    """Slices that `training_series` reads."""
    return sum(len(layout.splits.get(split, ())) for split in SPLITS)


def scans_of(layout: Layout) -> Iterator[list[Sample]]:
    """The slices of each scan, in the order of their names; one whose slices lie in both splits is one."""
    scans: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    for split in SPLITS:
        for sample in layout.splits.get(split, ()):
            scans[sample.patient, sample.scan].append(sample)
    for key in sorted(scans):
        yield sorted(scans[key], key=lambda one: natural(one.image.name))


def _usable(path: Path, load: Callable[[Path], Slice]) -> npt.NDArray[np.uint8] | None:
    """A slice uint8 [S, S]; None for one that `classify` would fail or exclude."""
    try:
        pixels = load(path)[0]
    except (SliceError, OSError):
        return None
    return None if grey_doubt(pixels) else pixels


def _declared(layout: Layout, sample: Sample) -> dict[str, float]:
    """What dataset.json says of a scan: in HU, and in mm."""
    numbers = noted(layout.declared, sample.scan)
    table: Any = layout.declared.get("spacing_mm")
    spacing = table.get(sample.scan) if isinstance(table, dict) else None
    if isinstance(spacing, list) and len(spacing) == 3 and all(is_number(mm) and mm > 0 for mm in spacing):
        step, row, column = map(float, spacing)
        with Image.open(sample.image) as picture:
            numbers |= {"step_mm": step} | by_size((row * picture.height, column * picture.width), numbers)
    return numbers
