"""Where the slices come from, in which order, and what is said about them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.inputs import choose_inputs, from_layout, from_phantoms
from benchmarks.peers.lineup import find_scans
from lits_deploy.bundle import Bundle
from lits_deploy.errors import ContractError, DataError, UserError
from lits_deploy.files import sha256_bytes
from lits_deploy.synthetic import CAVEAT
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.seen import SeenSlices, sample_keys


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("inputs") / "bundle")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_tiny_data(tmp_path / "data", slices=6, window=[-40, 160])


def test_the_test_split_with_its_targets(bundle: Bundle, data: Path) -> None:
    inputs = choose_inputs(bundle, data)
    assert inputs.targets is not None
    assert inputs.targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert inputs.slices.shape == (6, 1, 256, 256)
    assert len(inputs.files) == 6
    assert inputs.line() == "data, test split by patient: 6 slices"
    assert choose_inputs(bundle, None, of_run=data).files == inputs.files
    assert choose_inputs(bundle, data, of_run=Path("gone")).notes == ()


def test_a_part_is_evenly_spread_and_said_to_be_one(bundle: Bundle, data: Path) -> None:
    inputs = from_layout(bundle, data, 3)
    assert [path.stem[-4:] for path in inputs.files] == ["0000", "0002", "0005"]
    assert inputs.line() == "data, test split by patient: 3 slices of 6, evenly spread"


def test_the_test_set_is_known_by_its_files_whatever_the_folder_or_the_network(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    def of(network: Bundle, folder: Path, most: int = 100) -> str:
        return str(from_layout(network, folder, most).about["test_set_sha256"])

    known = of(bundle, data)
    assert len(known) == 64
    renamed = Path(shutil.copytree(data, tmp_path / "renamed"))
    small = make_tiny_bundle(tmp_path / "small", size=64, crop=56)
    assert of(bundle, renamed) == of(small, data) == known
    assert of(bundle, data, 3) != known
    for kind in ("images", "masks"):
        changed = Path(shutil.copytree(data, tmp_path / kind))
        path = max((changed / "test" / kind).iterdir())
        Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)
        assert of(bundle, changed) != known, kind
    shutil.move(renamed / "test" / "masks", tmp_path / "gone")
    names = sorted(path.name for path in (renamed / "test" / "images").iterdir())
    digests = set()
    for target in (1, 2):
        text = "".join(f"{name},{target if name == names[0] else 0}\n" for name in names)
        (renamed / "test" / "targets.csv").write_text("file,target\n" + text)
        digests.add(of(bundle, renamed))
    assert len(digests | {known}) == 3


def test_unreadable_files_are_counted(bundle: Bundle, data: Path) -> None:
    next((data / "test" / "images").iterdir()).write_bytes(b"not a picture")
    inputs = from_layout(bundle, data, 100)
    assert inputs.about["unreadable"] == 1
    assert len(inputs.slices) == 5
    assert "1 files" in inputs.notes[0]


def test_another_window_is_refused(bundle: Bundle, data: Path) -> None:
    (data / "dataset.json").write_text(json.dumps({"window_hu": [-100, 400]}))
    with pytest.raises(ContractError, match="window"):
        choose_inputs(bundle, data)


def test_a_split_alone_is_enough_but_not_said_to_be_by_patient(bundle: Bundle, data: Path) -> None:
    (data / "train").rename(data / "elsewhere")
    assert choose_inputs(bundle, data).about["split_by"] is None
    with pytest.raises(DataError, match="no data at"):
        choose_inputs(bundle, data / "none")


def test_patients_of_the_training_are_called_out(tmp_path: Path, data: Path) -> None:
    trained = {"dataset": {"name": "data", "patients": {"train": ["003"]}}}
    bundle = with_manifest(make_tiny_bundle(tmp_path / "bundle"), training=trained)
    (said,) = choose_inputs(bundle, data).notes
    assert said.startswith("NOT KNOWN whether this is a test"), "the names say so, and nothing else was noted"
    assert said.endswith(": 003")
    renamed = data.rename(tmp_path / "renamed")
    assert choose_inputs(bundle, renamed).notes == ()
    for split, what in (("train", "trained"), ("validate", "chosen")):
        bundle = with_seen(bundle, renamed, split)
        said = f"NOT A TEST: the network was {what} on patients of this split: 003"
        assert choose_inputs(bundle, renamed).notes == (said,)
    stranger = make_tiny_data(tmp_path / "other" / "data", slices=6, window=[-40, 160], seed=8)
    assert choose_inputs(bundle, stranger).notes == (), "the same numbers and name, other patients"


def with_seen(bundle: Bundle, data: Path, split: str) -> Bundle:
    """The bundle as if the test split of `data` had been that split of its training."""
    keys = sample_keys(read_layout(data).splits["test"], bundle.manifest.contract)
    seen = SeenSlices(splits={split: np.array(sorted(key for key in keys if key is not None), np.uint64)})
    (bundle.folder / "seen.bin").write_bytes(seen.to_bytes())
    return with_manifest(bundle, files={**bundle.manifest.files, "seen.bin": sha256_bytes(seen.to_bytes())})


def test_without_data_phantoms_and_where_they_do_not_fit_goldens(bundle: Bundle, tmp_path: Path) -> None:
    phantoms = from_phantoms(bundle, 5)
    assert phantoms.slices.shape == (5, 1, 256, 256)
    assert phantoms.targets is not None
    assert phantoms.masks is None
    assert phantoms.notes == (CAVEAT,)
    assert phantoms.line().endswith("5 SYNTHETIC slices")
    goldens = choose_inputs(make_tiny_bundle(tmp_path / "small", size=64, crop=56), None)
    assert goldens.targets is None
    assert goldens.line() == "the bundle's goldens: 3 slices"
    assert "no accuracy" in goldens.notes[0]
    digests = {inputs.about["test_set_sha256"] for inputs in (phantoms, goldens, from_phantoms(bundle, 6))}
    assert [len(digest) for digest in digests] == [64] * 3


def test_scans_of_a_split_leave_its_masks_out_and_know_its_targets(data: Path, tmp_path: Path) -> None:
    scans = find_scans([data / "test"])
    assert len(scans.files) == 6
    assert scans.targets == [0, 1, 2, 0, 1, 2]
    assert scans.roots == [data / "test" / "images"]
    part = find_scans([data / "test" / "images"], limit=2)
    assert part.targets == [0, 2]
    assert [str(root) for root in part.roots] == part.files
    assert find_scans([data / "validate" / "masks"]).targets is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no PNG or JPEG"):
        find_scans([tmp_path / "empty"])
