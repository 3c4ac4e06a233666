"""A pair's run: the U-Net looks where there may be liver and nowhere else, and both decide what a slice is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_runtime import FakeRuntime
from folder_runs import SALT
from lits_deploy.backends import open_runtime
from lits_deploy.bundle import Bundle
from lits_deploy.fusion import Fusion, lesion_log_odds, no_liver_log_odds
from lits_deploy.ledger import Ledger
from lits_deploy.operating_point import OperatingPoint
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.decide import PairDecider, SliceDecider, both_probabilities, softmax
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.run import run_folder
from lits_deploy.report.after import reporter
from lits_deploy.report.peaks import Peaks
from lits_deploy.report.redraw import redraw
from lits_deploy.results import COLUMNS, OF_PAIRS, PROVENANCE
from lits_deploy.runtime.pair import PairRuntime, counted
from lits_deploy.studies import by_number
from pictures import folder_of_slices
from sharded import do_shards, merged, plan
from tiny_bundle import make_tiny_bundle
from tiny_pair import FUSION, make_tiny_pair
from tiny_points import point
from worlds import WINDOW, Thresholds

SIZE = 64
RULE = Fusion.of({**FUSION, "no_liver_below": 0.5}, 1.5)


def scans_of(folder: Path, count: int = 24) -> Path:
    """Slices of every brightness: the darkest are no liver to the tiny classifier."""
    return folder_of_slices(folder, count, size=SIZE)


def run(bundle: Bundle, scans: Path, out: Path, **options: Any) -> RunSummary:
    asked = ClassifyOptions(**{"salt": SALT, "runtime": "onnxruntime", "device": "cpu", "workers": 1, **options})
    hooks = RunHooks(keep=Peaks, finish=reporter(bundle, asked))
    return run_folder(bundle, [scans], out, options=asked, hooks=hooks)


def table(out: Path) -> list[dict[str, str]]:
    lines = [line.split(",") for line in (out / "slices.csv").read_text(encoding="utf-8").splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def logits_of(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).normal(size=(count, 3)) * 3).astype(np.float32)


def test_the_u_net_looks_where_there_may_be_liver_and_nowhere_else() -> None:
    classifier, unet = FakeRuntime(shape=(1, SIZE, SIZE), max_batch=16), Thresholds(shape=(1, SIZE, SIZE), max_batch=3)
    slices = np.random.default_rng(1).integers(0, 256, (16, 1, 1, 1)) * np.ones((1, 1, SIZE, SIZE))
    slices = slices.astype(np.uint8)
    with PairRuntime(classifier, unet, RULE) as pair:
        found = pair.infer(slices)
    assert found.logits is not None
    assert found.counts is not None
    looked = no_liver_log_odds(found.logits, 1.5) < np.log(RULE.no_liver_below)
    assert 0 < looked.sum() < 16
    assert unet.batches == [3] * (looked.sum() // 3) + [looked.sum() % 3] * bool(looked.sum() % 3)
    np.testing.assert_array_equal(found.counts[~looked], -1)
    labels = unet.infer(slices[looked][:1]).labels
    assert labels is not None
    np.testing.assert_array_equal(found.counts[looked][:1], counted(labels))


def test_a_u_net_of_one_slice_is_given_the_middle_of_three() -> None:
    classifier, unet = FakeRuntime(shape=(3, SIZE, SIZE), max_batch=16), Thresholds(shape=(1, SIZE, SIZE), max_batch=3)
    slices = np.random.default_rng(1).integers(0, 256, (16, 3, SIZE, SIZE)).astype(np.uint8)
    with PairRuntime(classifier, unet, dataclasses.replace(RULE, no_liver_below=1e9)) as pair:
        found = pair.infer(slices)
    labels = [unet.infer(np.ascontiguousarray(one[None, 1:2])).labels for one in slices]
    assert found.counts is not None
    np.testing.assert_array_equal(found.counts, np.concatenate([counted(one) for one in labels if one is not None]))


def test_a_run_of_a_classifier_that_sees_neighbours_and_a_u_net_that_does_not(tmp_path: Path) -> None:
    scans = scans_of(tmp_path / "scans")
    everywhere = {**FUSION, "no_liver_below": 1e9}
    for channels in (1, 3):
        pair = make_tiny_pair(tmp_path / f"pair{channels}", fusion=everywhere, channels=channels)
        run(pair, scans, tmp_path / f"out{channels}")
    alone, pair = table(tmp_path / "out1"), table(tmp_path / "out3")
    assert {row["p2"] for row in alone} != {row["p2"] for row in pair}
    assert any(int(row["tumour_pixels"]) for row in alone)
    for name in ("path", "liver_pixels", "tumour_pixels"):
        assert [row[name] for row in alone] == [row[name] for row in pair]


def test_liver_counts_lesions_too() -> None:
    labels = np.array([[[0, 1], [2, 2]], [[0, 0], [0, 1]]], np.uint8)
    assert counted(labels).tolist() == [[3, 2], [1, 0]]


def test_the_odds_are_those_of_the_rule_and_a_slice_unseen_has_no_tumour() -> None:
    logits, counts = logits_of(3), np.array([[500, 40], [30, 0], [-1, -1]], np.int32)
    wanted = -3.0 + 0.5 * lesion_log_odds(logits, 1.5) + 0.8 * np.log1p([40, 0, 0])
    np.testing.assert_allclose(RULE.log_odds(logits, counts), wanted)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_class_2_is_by_both_and_the_probabilities_are_the_classifiers(threshold: float | None) -> None:
    logits = logits_of(200)
    counts = np.random.default_rng(2).integers(-1, 900, (200, 2)).astype(np.int32)
    rule = "argmax" if threshold is None else "balanced"
    decider = PairDecider(fusion=RULE, point=OperatingPoint(rule=rule, threshold=threshold))
    decided = decider.decide(logits, counts)
    np.testing.assert_array_equal(decided.probabilities, softmax(logits, 1.5))
    odds = RULE.log_odds(logits, counts)
    by_both = both_probabilities(logits, 1.5, odds)
    np.testing.assert_allclose(by_both.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(by_both[:, 0] * softmax(logits)[:, 1] > 0, True)
    if threshold is None:
        np.testing.assert_array_equal(decided.labels, by_both.argmax(axis=1))
    else:
        np.testing.assert_array_equal(decided.labels == 2, odds >= np.log(threshold))
        others = decided.labels != 2
        np.testing.assert_array_equal(decided.labels[others], logits[others, :2].argmax(axis=1))
    alone = SliceDecider(temperature=1.5, point=decider.point).decide(logits).labels
    assert (alone != decided.labels).any()


def test_what_the_rule_finds_is_never_unsure() -> None:
    logits, counts = logits_of(300), np.full((300, 2), 40, np.int32)
    plain = PairDecider(fusion=RULE, abstain_below=0.6).decide(logits, counts)
    rule = PairDecider(fusion=RULE, abstain_below=0.6, point=OperatingPoint(rule="balanced", threshold=0.4))
    decided = rule.decide(logits, counts)
    assert plain.unsure.any()
    marked = decided.labels == 2
    assert not decided.unsure[marked].any()
    np.testing.assert_array_equal(decided.unsure[~marked], plain.unsure[~marked])


def test_what_is_no_number_fails_and_the_u_net_does_not_look() -> None:
    logits = np.array([[np.nan, 0, 0], [0, 0, 1]], np.float32)
    assert RULE.looks(logits).tolist() == [False, True]
    broken, good = PairDecider(fusion=RULE).answers(logits, np.array([[-1, -1], [9, 4]], np.int32))
    assert (broken.label, broken.second, broken.reason) == (None, None, "the network's answer is not a finite number")
    assert good.second is not None
    assert good.second[:2] == (9, 4)
    assert good.lesion == good.second.lesion != good.p2


class TestRun:
    """The whole of it, on real graphs."""

    def test_tables_say_what_each_saw_and_rank_by_both(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        pair, scans = make_tiny_pair(tmp_path / "pair", temperature=1.5), scans_of(tmp_path / "scans")
        run(pair, scans, tmp_path / "out")
        found = table(tmp_path / "out")
        assert list(found[0]) == [*COLUMNS[: -len(PROVENANCE)], *OF_PAIRS, *PROVENANCE]
        assert 0 < sum(row["tumour_pixels"] != "" for row in found) < len(found)
        for row in found:
            p0, p1, p2 = (float(row[name]) for name in ("p0", "p1", "p2"))
            assert (
                (row["liver_pixels"] != "")
                == (row["tumour_pixels"] != "")
                == (p0 / (p1 + p2) < FUSION["no_liver_below"])
            )
            odds = -3.0 + 0.5 * np.log(p2 / (p0 + p1)) + 0.8 * np.log1p(int(row["tumour_pixels"] or 0))
            assert float(row["p_lesion"]) == pytest.approx(1 / (1 + np.exp(-odds)), abs=2e-5)
        with Ledger(tmp_path / "out") as ledger:
            by_path = {row.path: row for row in ledger.rows()}
        assert all(f"{by_path[row['path']].lesion:.6f}" == row["p_lesion"] for row in found)

    def test_answers_depend_on_no_batch_no_lane_and_no_shard(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        pair, scans = make_tiny_pair(tmp_path / "pair"), scans_of(tmp_path / "scans")
        run(pair, scans, tmp_path / "one", runtime="auto", batch_size=1, threads=1)
        run(pair, scans, tmp_path / "many", runtime="auto", batch_size=7, threads=2)
        plan(pair, scans, tmp_path / "job", 7, device="cpu")
        do_shards(pair, tmp_path / "job", device="cpu")
        merged(tmp_path / "job", tmp_path / "merged", device="cpu")
        tables = [(tmp_path / name / "slices.csv").read_bytes() for name in ("one", "many", "merged")]
        assert tables[0] == tables[1] == tables[2]
        assert b"p_lesion" in tables[0]

    def test_it_is_drawn_again_from_the_ledger(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        pair, scans = make_tiny_pair(tmp_path / "pair", cam=True), scans_of(tmp_path / "scans", 8)
        run(pair, scans, tmp_path / "out")
        names = ("slices.csv", "studies.csv", "report.html")
        then = [(tmp_path / "out" / name).read_bytes() for name in names]
        redraw(tmp_path / "out")
        assert [(tmp_path / "out" / name).read_bytes() for name in names] == then

    def test_the_page_says_what_each_network_found(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        pair, scans = make_tiny_pair(tmp_path / "pair", cam=True), scans_of(tmp_path / "scans")
        run(pair, scans, tmp_path / "out")
        text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        with Ledger(tmp_path / "out") as ledger:
            rows = list(ledger.rows())
            summaries = by_number(ledger.rows_by_volume(), ledger.volumes())
        looked = [row.tumour for row in rows if row.tumour is not None]
        parts = text.split("<dt>U-Net</dt><dd>")[1:]
        assert sum(int(one.split(" ")[2]) for one in parts) == len(looked)
        assert "Two networks" in text
        assert "suspicion, rank and the strip go by both" in text
        assert "tumour pixels of" in text
        assert "Second network" in text
        for summary in summaries.values():
            assert summary.top is not None
            assert summary.top.lesion == max(row.lesion for row in rows if row.path.startswith(summary.top.path[:7]))

    def test_a_plain_bundle_has_plain_tables(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56, window_hu=WINDOW)
        run(bundle, scans_of(tmp_path / "scans", 4), tmp_path / "out")
        assert list(table(tmp_path / "out")[0]) == list(COLUMNS)

    def test_the_threshold_in_force_is_on_the_odds_by_both(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        made = (point("balanced", 0.2, 0.7, 0.2),)
        pair = make_tiny_pair(tmp_path / "pair", operating_points=made, operating_point="balanced")
        run(pair, scans_of(tmp_path / "scans"), tmp_path / "out")
        for row in table(tmp_path / "out"):
            p = float(row["p_lesion"])
            assert (row["label"] == "2") == (p / (1 - p) >= 0.2), row["path"]

    def test_the_u_net_is_opened_for_its_counts_alone(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        pair = make_tiny_pair(tmp_path / "pair")
        slices = np.zeros((2, *pair.manifest.contract.shape), np.uint8)
        where = {"runtime": "onnxruntime", "device": "cpu"}
        with open_runtime(pair, wanted=("probabilities",), **where) as classifier:
            assert not isinstance(classifier, PairRuntime)
            assert classifier.infer(slices).counts is None
        with open_runtime(pair, **where) as both:
            assert isinstance(both, PairRuntime)
            assert both.infer(slices).counts is not None

    def test_another_rule_is_another_run(self, tmp_path: Path) -> None:
        one = make_tiny_pair(tmp_path / "one")
        other = make_tiny_pair(tmp_path / "other", fusion={**FUSION, "tumour": 0.9})
        assert one.sha256 != other.sha256


def test_both_runtimes_are_closed() -> None:
    class Closing(Thresholds):
        closed = False

        def close(self) -> None:
            self.closed = True

    first, second = Closing(), Closing()
    with PairRuntime(first, second, dataclasses.replace(RULE)):
        pass
    assert first.closed
    assert second.closed
