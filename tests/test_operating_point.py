"""Rules of operating points: how they are written, which a file has, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lits_deploy.errors import BundleError, UserError
from lits_deploy.operating_point import OperatingPoint, Share, by_patient, odds_text, parse_rule, point_of, promised
from lits_deploy.synthetic import CAVEAT
from tiny_bundle import make_tiny_bundle
from tiny_points import POINTS, PROMISE


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("argmax", "argmax"),
        ("Balanced ", "balanced"),
        ("sensitivity=0.90", "sensitivity=0.9"),
        ("specificity=.95", "specificity=0.95"),
    ],
)
def test_rules_have_one_spelling(text: str, rule: str) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(rule) == rule


@pytest.mark.parametrize(
    "text", ["", "youden", "sensitivity", "sensitivity=", "sensitivity=1", "specificity=0", "sensitivity=90", "argmax="]
)
def test_what_is_no_rule_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"is not an operating point\. Fix: one of argmax, balanced, sensitivity=0\.90"):
        parse_rule(text)


def test_the_rule_in_force_or_another_that_the_file_has(tmp_path: Path) -> None:
    rule = {"operating_point": "sensitivity=0.9", "operating_points": POINTS, "promise": PROMISE}
    artifact = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56, **rule).artifact()
    assert point_of(artifact) == point_of(artifact, "sensitivity=0.90")
    assert point_of(artifact).threshold == 0.125
    assert point_of(artifact, "argmax").identity() == {}
    assert point_of(artifact, "balanced").identity() == {"operating_point": "balanced"}
    with pytest.raises(BundleError, match=r"no threshold for sensitivity=0\.7\. Fix: one of argmax, balanced, sens"):
        point_of(artifact, "sensitivity=0.7")


def test_thresholds_that_differ_are_not_told_alike(tmp_path: Path) -> None:
    points = tuple({**one, "threshold": odds} for one, odds in zip(POINTS, (None, 0.50004, 0.50011), strict=False))
    artifact = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56, operating_points=points).artifact()
    assert [odds_text(odds, artifact) for odds in (0.50004, 0.50011)] == ["0.5", "0.5001"]
    assert odds_text(0.125, make_tiny_bundle(tmp_path / "one", size=64, crop=56).artifact()) == "0.125"


def test_the_sentence_says_what_it_will_miss_and_on_whom_that_rests() -> None:
    point = OperatingPoint(
        rule="balanced",
        threshold=0.5,
        sensitivity=Share(value=0.712, low=0.52, high=0.849),
        specificity=Share(value=0.958, low=0.91, high=0.982),
    )
    sentence = promised(point, PROMISE)
    assert sentence == (
        "Of 100 slices with a lesion it is expected to find 71 (52 to 85); "
        "of 100 without one it will mark 4 (2 to 9). "
        "Estimated on 21 patients (19 with a lesion), each answered by a network that had not seen them."
    )
    few = promised(point, {**PROMISE, "source": "validate", "patients": 4, "with_lesion": 4, "synthetic": True})
    assert few is not None
    assert few.startswith(f"{CAVEAT} Of 100 slices with a lesion")
    assert few.endswith(
        "Estimated on 4 patients (4 with a lesion), who also helped to choose the network: on others it may do worse. "
        "So few patients give little more than a hint."
    )
    assert promised(OperatingPoint(), PROMISE) is None
    stranger = promised(point, {"patients": ["\x1b"], "with_lesion": None, "source": {}})
    assert stranger == sentence.partition(" Estimated")[0], "what a stranger wrote otherwise is passed over"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (Share(value=0.004, low=0.0, high=0.0206), "0.4 (0 to 2)"),
        (Share(value=0.997, low=0.95, high=1.0), "99.7 (95 to 100)"),
        (Share(value=0.5, low=None, high=None), "50"),
    ],
)
def test_shares_that_round_to_none_or_all_keep_a_digit(share: Share, text: str) -> None:
    assert share.per_hundred() == text
    assert share.rest.rest.per_hundred() == text


def test_patients_are_given_in_a_sentence() -> None:
    assert by_patient(OperatingPoint.from_json(POINTS[1])) == (
        "In 18 of 19 patients with a lesion at least one slice of it was marked; in 1 of 2 patients without one some "
        "slice was marked by mistake."
    )
    record = {**POINTS[1], "patients": {"with_lesion": 3, "found": 3, "without": 0, "marked": 0}}
    assert by_patient(OperatingPoint.from_json(record)) == (
        "In 3 of 3 patients with a lesion at least one slice of it was marked."
    )
    assert by_patient(OperatingPoint()) is None
