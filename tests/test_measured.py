"""What a bundle says of its lesions on its test split, in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from lits_deploy.measured import lesions_line

FIGURES: dict[str, Any] = {
    "slices": 928,
    "patients": 5,
    "split_by": "patient",
    "synthetic": False,
    "confusion": [[600, 20, 0], [30, 150, 19], [5, 63, 32]],
    "rule": "specificity=0.95",
}
SENTENCE = (
    "Measured on 928 slices of 5 patients it had not seen: of 100 slices with a lesion it called 32 a lesion, and of "
    "100 slices it called a lesion, 63 had one."
)


def test_it_says_what_was_found_and_how_often_that_was_right() -> None:
    assert lesions_line(FIGURES) == SENTENCE
    assert lesions_line(FIGURES, abstains=True) == SENTENCE, "what a threshold finds does not depend on abstention"


def test_by_argmax_it_says_that_abstention_may_find_less() -> None:
    by_argmax = {key: value for key, value in FIGURES.items() if key != "rule"}
    assert lesions_line(by_argmax) == SENTENCE
    assert lesions_line(by_argmax, abstains=True) == (
        f"{SENTENCE} There every slice got a class; where unsure slices abstain, it finds no more than that."
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"patients": 1}, "928 slices of 1 patient it had not seen"),
        ({"synthetic": True}, "928 slices of 5 phantoms it had not seen"),
        ({"split_by": "slice"}, "928 slices of its test split"),
        (
            {"confusion": [[1, 0, 0], [0, 1, 0], [0, 4, 0]]},
            "patients it had not seen: it called no slice a lesion, though 4 have one.",
        ),
    ],
)
def test_on_whom_it_was_measured(changes: dict[str, Any], part: str) -> None:
    assert part in str(lesions_line({**FIGURES, **changes}))


@pytest.mark.parametrize("changes", [{"confusion": [[9, 0, 0], [0, 9, 1], [0, 0, 0]]}, {"dice": [1, 1, 1]}])
def test_without_slices_of_lesions_and_for_a_u_net_there_is_none(changes: dict[str, Any]) -> None:
    assert lesions_line({**FIGURES, **changes}) is None
