"""`bundle pair`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy.bundle import SEGMENTER, Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, ContractError, DataError, OutputError
from lits_deploy.operating_point import point_of, promised
from lits_deploy.packing import pack, unpack
from lits_deploy.verify import verify
from lits_deploy.witnesses import PAIR, pair_figures
from pair_parts import Parts, make_pair_parts
from tiny_bundle import with_manifest

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return make_pair_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def pair(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, str]:
    out = tmp_path_factory.mktemp("made") / "pair"
    arguments = [parts.classifier.folder, parts.unet.folder, "--runs", *parts.runs, "--out", out]
    said = CliRunner().invoke(app, ["bundle", "pair", *map(str, arguments), "--operating-point", "specificity=0.95"])
    assert said.exit_code == 0, (said.output, said.exception)
    return Bundle.open(out), said.output


def test_networks_keep_their_bytes_and_the_manifest_has_the_rule(parts: Parts, pair: tuple[Bundle, str]) -> None:
    made, _ = pair
    assert made.problems() == []
    for name, origin in (("model.onnx", parts.classifier), (f"{SEGMENTER}model.onnx", parts.unet)):
        assert (made.folder / name).read_bytes() == (origin.folder / "model.onnx").read_bytes()
    artifact = made.artifact()
    assert artifact.fusion["segmenter"] == "fp32"
    assert artifact.fusion["tumour"] > 0
    assert artifact.operating_point == "specificity=0.95"
    assert made.segmenter is not None
    assert made.segmenter.manifest.contract == parts.unet.manifest.contract
    assert pair_figures(made.manifest.metrics) is not None


def test_it_says_what_either_and_both_do_and_what_it_promises(pair: tuple[Bundle, str]) -> None:
    made, said = pair
    text = " ".join(said.split())
    sentence = promised(point_of(made.artifact()), made.artifact().promise)
    assert sentence is not None
    assert sentence.startswith("Of 100 slices with a lesion it is expected to find")
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    page = " ".join(CliRunner().invoke(app, ["bundle", "inspect", str(made.folder)]).output.split())
    for shown in (text, " ".join(card.split()), page):
        assert sentence in shown
        assert "U-Net alone" in shown
        assert "The U-Net looks at".lower() in shown.lower()
    assert "## Two witnesses" in card
    assert "odds of a lesion by both networks" in card
    assert "Not a medical device" in text


def test_it_verifies_packs_and_unpacks_with_both_goldens(pair: tuple[Bundle, str], tmp_path: Path) -> None:
    made, _ = pair
    again = unpack(pack(made.folder, tmp_path / "pair.zip"), tmp_path / "again")
    assert again.sha256 == made.sha256
    problems, checks = verify(again.folder)
    assert problems == []
    assert {check.artifact for check in checks if check.passed} == {"fp32", f"{SEGMENTER}fp32"}
    (again.folder / f"{SEGMENTER}model.onnx").write_bytes(b"other")
    assert any(SEGMENTER in problem for problem in verify(again.folder)[0])


def make(parts: Parts, out: Path) -> Bundle:
    from export.pair.make import make_pair

    return make_pair(parts.classifier, parts.unet, parts.runs, out)


def test_equal_parts_give_equal_bytes(parts: Parts, tmp_path: Path) -> None:
    assert make(parts, tmp_path / "one").sha256 == make(parts, tmp_path / "other").sha256


class TestRefused:
    def test_the_wrong_way_round(self, parts: Parts, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"is not a classifier\. Fix: name the classifier's bundle, then"):
            make(parts._replace(classifier=parts.unet, unet=parts.classifier), tmp_path / "pair")

    def test_a_pair_of_a_pair(self, parts: Parts, pair: tuple[Bundle, str], tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="is a pair"):
            make(parts._replace(classifier=pair[0]), tmp_path / "pair")

    def test_networks_that_see_other_slices(self, parts: Parts, tmp_path: Path) -> None:
        manifest = parts.unet.manifest
        other = dataclasses.replace(manifest, contract=dataclasses.replace(manifest.contract, channels=3))
        unet = dataclasses.replace(parts.unet, manifest=other)
        with pytest.raises(ContractError, match=r"differ in channels: 1, 3\. Fix: train one of them again"):
            make(parts._replace(unet=unet), tmp_path / "pair")

    def test_a_bundle_of_another_training(self, parts: Parts, tmp_path: Path) -> None:
        training = {**parts.unet.manifest.training, "checkpoint_sha256": "f" * 64}
        other = dataclasses.replace(parts.unet, manifest=dataclasses.replace(parts.unet.manifest, training=training))
        with pytest.raises(DataError, match=r"was not exported from .*run-unet\. Fix: lits-deploy export"):
            make(parts._replace(unet=other), tmp_path / "pair")

    def test_what_is_there_already(self, parts: Parts, tmp_path: Path) -> None:
        (tmp_path / "pair").mkdir()
        with pytest.raises(OutputError, match="exists already"):
            make(parts, tmp_path / "pair")

    def test_a_rule_without_its_network(self, pair: tuple[Bundle, str], tmp_path: Path) -> None:
        again = unpack(pack(pair[0].folder, tmp_path / "pair.zip"), tmp_path / "again")
        with pytest.raises(BundleError, match="a rule for two networks, and one network"):
            with_manifest(again, segmenter=None)
        fusion = {**again.manifest.artifacts[0].fusion, "segmenter": "int8-cpu"}
        artifacts = tuple(dataclasses.replace(one, fusion=fusion) for one in again.manifest.artifacts)
        with pytest.raises(BundleError, match="no U-Net for one of its artifacts"):
            with_manifest(again, artifacts=artifacts)
        assert PAIR in again.manifest.metrics
