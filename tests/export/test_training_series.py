"""What a bundle keeps of its training series: the numbers that `classify` finds in the same slices."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from export.progress import ExportProgress
from export.training_series import SeriesAnswers, count, kept_of_training, path_of, training_series
from folder_runs import classify
from lits_deploy.bundle import Bundle, write_manifest
from lits_deploy.contract import InputContract
from lits_deploy.drift.features import AS_SEEN
from lits_deploy.drift.reference import REFERENCE, DriftReference
from lits_deploy.ledger import Ledger
from lits_deploy.operating_point import OUT_OF_FOLD
from lits_deploy.scans.appearance import HU
from lits_deploy.spreadsheet import read_rows
from lits_deploy.studies import by_volume
from lits_sources import Patient, write_lits
from tiny_bundle import make_tiny_bundle
from train.data.in_hu import KEY, noted
from train.data.layout import SPLITS, Layout, read_layout
from train.data.load import loader
from train.out_of_fold import OutOfFold
from train.prepare.run import prepare
from train.prepare.settings import PrepareSettings

WINDOW = (-40.0, 160.0)
CONTRACT = InputContract(window_hu=WINDOW, size=64, crop=56)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten volumes, prepared for training in `data`."""
    folder = tmp_path_factory.mktemp("made")
    write_lits(folder / "raw", [_body(number) for number in range(10)])
    prepare(folder / "raw", folder / "data", PrepareSettings(layout="lits", window_hu=WINDOW), workers=1)
    return folder


@pytest.fixture(scope="module")
def layout(made: Path) -> Layout:
    """All but one of them to train on, that one to validate by."""
    found = read_layout(made / "data")
    samples = [sample for split in found.splits.values() for sample in split]
    kept = {
        "train": [one for one in samples if one.scan != "9"],
        "validate": [one for one in samples if one.scan == "9"],
    }
    return dataclasses.replace(found, splits={split: tuple(some) for split, some in kept.items()})


def portraits(out: Path) -> list[dict[str, float]]:
    with Ledger(out) as ledger:
        found = [dict(one.portrait.numbers) for one, _ in by_volume(ledger.rows_by_volume(), ledger.volumes())]
    return [one for one in found if one]


def studies(out: Path) -> list[dict[str, str]]:
    with (out / "studies.csv").open(encoding="utf-8", newline="") as stream:
        return list(read_rows(stream))


def with_reference(bundle: Bundle, reference: DriftReference) -> Bundle:
    manifest = bundle.manifest
    write_manifest(
        bundle.folder,
        dataclasses.replace(manifest, training={**manifest.training, REFERENCE: reference.to_json()}),
    )
    return Bundle.open(bundle.folder)


def test_it_is_what_classify_finds_in_the_same_slices(layout: Layout, tmp_path: Path) -> None:
    reference = training_series(layout, loader(CONTRACT))
    assert (reference.series, reference.data, reference.answers) == (10, "data/train+validate", None)
    bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56, window_hu=WINDOW)
    classify(bundle, [layout.root / split / "images" for split in SPLITS], tmp_path / "out", formats=("csv",))
    found = portraits(tmp_path / "out")
    assert len(found) == 10
    for number in AS_SEEN:
        if number.name == "rise":  # of bodies without air: it never rises, or hardly ever
            continue
        wanted = sorted(float(f"{one[number.name]:.4g}") for one in found)
        assert sorted(float(f"{value:.4g}") for value in reference.numbers[number.name]) == wanted, number.name


def test_slices_are_counted_and_broken_ones_passed_over(layout: Layout) -> None:
    done: list[int] = []
    training_series(layout, loader(CONTRACT), progress=done.append)
    assert sum(done) == count(layout) == 10 * 40


def test_answers_are_read_as_the_bundle_reads_them(layout: Layout) -> None:
    """Of patients that the network had not seen: the others have none."""
    logits = {path_of(layout, sample): np.array([0.0, 4.0, 1.0], np.float32) for sample in layout.splits["validate"]}
    answered = SeriesAnswers(logits=logits, temperature=2.0, abstain_below=0.7, source="validate")
    reference = training_series(layout, loader(CONTRACT), answered)
    assert reference.answers == "validate"
    assert np.count_nonzero(~np.isnan(reference.numbers["surest"])) == 1
    highest = np.exp(2.0) / (1 + np.exp(2.0) + np.exp(0.5))
    assert np.nanmax(reference.numbers["surest"]) == pytest.approx(highest)
    assert np.nanmax(reference.numbers["unsure"]) == float(highest < 0.7)


def test_of_a_folded_run_the_answers_out_of_fold_count(layout: Layout) -> None:
    """Not those of its file, which may be of a network that was trained on everyone."""
    samples = [sample for split in layout.splits.values() for sample in split]
    answers = OutOfFold(
        patient=np.array([sample.patient for sample in samples]),
        scan=np.array([sample.scan for sample in samples]),
        path=np.array([path_of(layout, sample) for sample in samples]),
        fold=np.ones(len(samples), np.int64),
        target=np.zeros(len(samples), np.int64),
        logits=np.tile(np.array([0.0, 4.0, 1.0], np.float32), (len(samples), 1)),
        record={"data": "data", "split_by": "patient", "synthetic": False},
    )
    of_file = [SimpleNamespace(sample=samples[-1], logits=np.array([9.0, 0.0, 0.0], np.float32))]
    artifact: Any = SimpleNamespace(temperature=2.0, abstain_below=None)

    def kept(task: str) -> DriftReference:
        original = SimpleNamespace(
            info=SimpleNamespace(task=task), out_of_fold=None, folded=SimpleNamespace(answers=answers)
        )
        held: Any = SimpleNamespace(
            original=original,
            contract=CONTRACT,
            passing=loader(CONTRACT),
            unseen=lambda split: SimpleNamespace(layout=layout),
        )
        reference = kept_of_training(held, artifact, of_file, ExportProgress())  # type: ignore[arg-type]
        assert reference is not None
        return reference

    reference = kept("classify")
    assert reference.answers == OUT_OF_FOLD
    np.testing.assert_allclose(reference.numbers["surest"], np.exp(2.0) / (1 + np.exp(2.0) + np.exp(0.5)), rtol=1e-6)
    assert len(reference.numbers["surest"]) == 10
    assert kept("segment").answers is None


class TestInHu:
    """Volumes prepared for training, classified as they were, and one of other HU."""

    def test_dataset_json_notes_each_scan(self, made: Path) -> None:
        declared = json.loads((made / "data/dataset.json").read_bytes())
        assert set(declared[KEY]) == {str(number) for number in range(10)}
        for number in range(10):
            figures = noted(declared, str(number))
            assert set(figures) == set(HU)
            assert figures["hu_middle"] == pytest.approx(40 + number, abs=6)
            assert figures["hu_noise"] / 10 == pytest.approx(12, rel=0.2)
        assert noted(declared, "99") == {}
        assert noted({KEY: {"1": {"fat": "x", "body": 3, "beauty": 1}}}, "1") == {"body": 3.0}
        assert noted({KEY: []}, "1") == {}

    def test_series_in_hu_are_compared_in_hu_and_mm(self, layout: Layout, tmp_path: Path) -> None:
        reference = training_series(layout, loader(CONTRACT))
        assert {"hu_middle", "fat", "field_mm", "body_mm", "step_mm"} <= set(reference.numbers)
        bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56, window_hu=WINDOW)
        bundle = with_reference(bundle, reference)
        scans = tmp_path / "scans"
        for name, number, shift, spacing in (("usual", 5, 0, 2.0), ("higher", 5, 60, 2.0), ("wider", 5, 0, 2.5)):
            _nifti(scans / f"{name}.nii", _body(number, shift), spacing)
        classify(bundle, scans, tmp_path / "out", formats=("csv",))
        sentences = {row["most_suspicious_path"]: row["against_training"] for row in studies(tmp_path / "out")}
        assert sentences["usual.nii"] == "like the training series"
        assert sentences["higher.nii"].startswith("unlike the training series: ")
        assert "HU are higher" in sentences["higher.nii"]
        assert "field of view" not in sentences["higher.nii"]
        assert "its field of view is larger (320 mm; training 256 to 256)" in sentences["wider.nii"]

    def test_without_a_reference_that_is_said(self, tmp_path: Path) -> None:
        bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56, window_hu=WINDOW)
        _nifti(tmp_path / "scans/one.nii", _body(1), 2.0)
        classify(bundle, tmp_path / "scans", tmp_path / "out", formats=("csv",))
        (row,) = studies(tmp_path / "out")
        assert row["against_training"].startswith("not compared: the bundle keeps nothing")


def _body(number: int, shift: int = 0) -> Patient:
    """An ellipse of soft tissue with fat around it and noise of 12 HU; brighter from patient to patient."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:128, :128] / 64 - 1
    size = 0.6 + 0.01 * number
    inside = (x / (size + 0.2)) ** 2 + (y / size) ** 2
    hu = np.where(inside < 1, 40 + number + shift, np.where(inside < 1.2, -100 + shift, -1000))
    volume = hu + rng.normal(0, 12, (40, 128, 128)) * (inside < 1.2)
    labels = np.zeros((40, 128, 128), np.uint8)
    labels[:, 50:60, 30:50] = 1
    return Patient(number, volume.round().astype(np.int16), labels, (3.0 + 0.1 * number, 2.0, 2.0))


def _nifti(path: Path, patient: Patient, spacing: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing, -spacing, patient.spacing_mm[0], 1.0])
    ras = np.transpose(patient.hu, (2, 1, 0))  # columns to the left, rows to the back
    nibabel.Nifti1Image(np.ascontiguousarray(ras), affine).to_filename(path)
