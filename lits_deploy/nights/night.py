"""The series of a night, from the ledger of its OUT."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lits_deploy.bundle import Bundle
from lits_deploy.drift.compare import against
from lits_deploy.drift.features import ANSWERED, AS_SEEN, NUMBERS, Column
from lits_deploy.drift.portrait import TECHNIQUE, Portrait
from lits_deploy.drift.reference import REFERENCE, DriftReference
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.ledger import ABOUT, FILE_NAME
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.results import noted_reference
from lits_deploy.studies import by_volume

TRAINING = "training"
"""Name of the sample of a bundle's training series."""


@dataclass(frozen=True, kw_only=True)
class SeriesSample:
    """Series to compare with others. numbers: float64 [≤ series] by name, those that are known; technique: how many
    series have each. contract: hash of how the network sees slices; answered_by: what its answers depend on. Either is
    empty where nobody knows: then what depends on it is not compared."""

    name: str
    series: int
    numbers: Mapping[str, Column]
    technique: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    contract: str = ""
    answered_by: str = ""

    def shared(self, other: SeriesSample) -> list[str]:
        """The numbers that mean the same in both."""
        apart: set[str] = set()
        if not self.contract or self.contract != other.contract:
            apart |= {number.name for number in (*AS_SEEN, *ANSWERED)}
        if not self.answered_by or self.answered_by != other.answered_by:
            apart |= {number.name for number in ANSWERED}
        return [n.name for n in NUMBERS if n.name in self.numbers and n.name in other.numbers and n.name not in apart]


@dataclass(frozen=True, kw_only=True)
class Night:
    """An OUT. sample: one series a study, the longest. series: all that could be compared, `marked` of them unlike the
    reference, which is the bundle's as the ledger has it, or the one that was asked for."""

    sample: SeriesSample
    series: int
    marked: int
    reference: DriftReference | None
    training: SeriesSample | None


def read_night(out: Path, reference: DriftReference | None = None, training: SeriesSample | None = None) -> Night:
    """The series of an OUT, or of the folder of its ledger.

    reference, training: of another bundle than the one that it was answered with. Raises OutputError where there is no
    ledger, another process is at it, or it holds no run; LedgerError for a damaged one.
    """
    if not (out / FILE_NAME).is_file():
        raise OutputError(f"{out} holds no {FILE_NAME}.", fix="name the OUT of a run, or the folder of its --ledger")
    with OutputFolder(out) as output:
        ledger = output.ledger
        ledger.check()
        noted = ledger.noted(ABOUT)
        if noted is None:
            raise OutputError(f"The run in {out} never began.", fix="run the command that made it once more")
        about = json.loads(noted)
        own = noted_reference(ledger)
        held = own if reference is None else reference
        longest: dict[str, tuple[int, Portrait]] = {}
        series = marked = 0
        for summary, _ in by_volume(ledger.rows_by_volume(), ledger.volumes()):
            if summary.copy_of is not None or not summary.portrait.numbers:
                continue
            found = against(held, summary.portrait)
            series += found.why_not is None
            marked += found.marked
            key = summary.study or str(summary.name)
            if key not in longest or longest[key][0] < summary.slices:
                longest[key] = summary.slices, summary.portrait
    contract, bundle = about["contract"]["sha256"], about["bundle"]
    return Night(
        sample=sample_of(out.resolve().name, [one for _, one in longest.values()], contract, bundle),
        series=series,
        marked=marked,
        reference=held,
        training=training or training_of(own, contract, bundle),
    )


def of_bundle(bundle: Bundle) -> tuple[DriftReference, SeriesSample]:
    """The reference that a bundle keeps. Raises BundleError where it keeps none."""
    reference = DriftReference.from_json(bundle.manifest.training.get(REFERENCE))
    if reference is None:
        raise BundleError(f"{bundle.folder} keeps nothing of its training series.", fix="export it again")
    sample = training_of(reference, bundle.manifest.contract.sha256, bundle.sha256)
    assert sample is not None
    return reference, sample


def training_of(reference: DriftReference | None, contract: str, bundle: str) -> SeriesSample | None:
    """The training series of a bundle as a sample; None where it keeps none."""
    if reference is None:
        return None
    numbers = {name: column[~np.isnan(column)] for name, column in reference.numbers.items()}
    return SeriesSample(
        name=TRAINING,
        series=reference.series,
        numbers=numbers,
        technique=reference.technique,
        contract=contract,
        answered_by=bundle if reference.answers else "",
    )


def sample_of(name: str, portraits: Sequence[Portrait], contract: str = "", answered_by: str = "") -> SeriesSample:
    """Portraits as a sample."""
    columns = {
        number.name: np.array([one.numbers[number.name] for one in portraits if number.name in one.numbers], np.float64)
        for number in NUMBERS
    }
    technique: dict[str, Counter[str]] = {
        word: Counter(one.technique[word] for one in portraits if word in one.technique) for word in TECHNIQUE
    }
    return SeriesSample(
        name=name,
        series=len(portraits),
        numbers={name: column for name, column in columns.items() if len(column)},
        technique={word: dict(found) for word, found in technique.items() if found},
        contract=contract,
        answered_by=answered_by,
    )


def pooled(samples: Sequence[SeriesSample]) -> SeriesSample:
    """Several nights as one sample, to hold another against."""

    def same(values: set[str]) -> str:
        return values.pop() if len(values) == 1 else ""

    numbers: dict[str, list[Column]] = {}
    technique: dict[str, Counter[str]] = {}
    for sample in samples:
        for name, column in sample.numbers.items():
            numbers.setdefault(name, []).append(column)
        for word, found in sample.technique.items():
            technique.setdefault(word, Counter()).update(found)
    return SeriesSample(
        name=samples[0].name if len(samples) == 1 else f"{len(samples)} nights before",
        series=sum(sample.series for sample in samples),
        numbers={name: np.concatenate(columns) for name, columns in numbers.items()},
        technique={word: dict(found) for word, found in technique.items()},
        contract=same({sample.contract for sample in samples}),
        answered_by=same({sample.answered_by for sample in samples}),
    )
