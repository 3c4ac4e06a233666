"""What a bundle of a folded training says beside the figures of its own files.

    metrics.out_of_fold    the procedure: figures of all patients, each answered by a network that was trained without
                           it (`export.procedure`); of no file
    metrics.cost           of an average of networks: its time a slice against one network's (`export.cost`)
    metrics.agreement      of a network that was trained on all patients: how it agrees with the folds
                           (`export.agreement`)
    training.folds         which of the folds' networks the file is (`export.folded`)
    calibration.taken_over of an artifact: whose answers its numbers were fitted on, if not on its own
                           (`export.transfer`)

As in `measured`, everything is looked at before it is used: what is not as it must be counts as not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lits_deploy.manifest_check import is_count, is_number
from lits_deploy.measured import CLASSIFIER, number
from lits_deploy.operating_point import ARGMAX
from lits_deploy.synthetic import MARK, is_synthetic

PROCEDURE, COST, AGREEMENT = "out_of_fold", "cost", "agreement"

FOLDS = "folds"
"""Of `taken_over`: numbers that were fitted on the answers of the folds' networks."""

TAKEN = ("best", "average", "all")
"""`export --from`: one fold's network, the mean of all folds', one that was trained on all patients."""

_UNET = {"dice1": "Dice liver", "dice2": "Dice lesion"}
_COST = ("ms_per_slice", "one_network_ms", "ratio")
_SHARES = ("same_class", "least", "mean_delta")


def procedure_of(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures of the procedure, or None where a bundle brings none.

    data: text; synthetic, flipped: bool; folds, slices, patients: counts; shown: name → (value, [low, high] over
    patients or None, [lowest, highest] of the folds or None).
    """
    found = metrics.get(PROCEDURE)
    if not isinstance(found, dict) or not all(is_count(found.get(key)) for key in ("folds", "slices", "patients")):
        return None
    over: Any = [found.get(key) for key in ("intervals", "by_fold")]
    if not isinstance(found.get("data"), str) or not all(isinstance(one, dict) for one in over) or found["folds"] < 2:
        return None
    dice = found.get("dice")
    values = dict(found)
    if isinstance(dice, list) and len(dice) == 3:
        values |= {f"dice{label}": value for label, value in enumerate(dice)}
    names = _UNET if "dice" in found else CLASSIFIER
    if not all(values.get(key) is None or is_number(values.get(key)) for key in names):
        return None
    if not all(one.get(key) is None or _pair(one[key]) for one in over for key in names):
        return None
    return {
        **{key: found[key] for key in ("data", "folds", "slices", "patients")},
        "synthetic": is_synthetic(found),
        "flipped": found.get("flips") in ("sides", "all"),
        "shown": {name: (values.get(key), *(one.get(key) for one in over)) for key, name in names.items()},
    }


def procedure_on(found: Mapping[str, Any]) -> str:
    """What they are of: `out of fold, lits: 3,543 slices of 21 patients, each answered by the one of 5 networks …`."""
    text = f"out of fold, {found['data']}: {found['slices']:,} slices of {found['patients']:,} patients, each answered "
    text += f"by the one of {found['folds']} networks that never saw it{', with mirror images' * found['flipped']}"
    return text + (f", {MARK}" if found["synthetic"] else "")


def procedure_line(found: Mapping[str, Any], rule: str = ARGMAX) -> str:
    """The figures in words, with their 95 % intervals over patients. rule: in force in the file that they stand beside,
    so that it is said where it is not theirs."""
    shown = found["shown"].items()
    text = ", ".join(
        f"{name} {number(value)}" + (f" ({span(over)})" if value is not None and over is not None else "")
        for name, (value, over, _) in shown
    )
    return text + (f" (class 2 by {ARGMAX})" if rule != ARGMAX else "")


def span(ends: list[float] | None) -> str:
    """`0.838 to 0.938`, or a dash."""
    return "–" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def made_of(training: Mapping[str, Any]) -> str | None:
    """Which of a folded training's networks a file is, in a sentence; None for a bundle of no such training."""
    found = training.get("folds")
    if not isinstance(found, dict) or found.get("taken") not in TAKEN or not is_count(found.get("folds")):
        return None
    count = found["folds"]
    if found["taken"] == "average":
        return f"All {count} networks of a folded training in one graph: the mean of their probabilities."
    if found["taken"] == "all":
        return f"One network that was trained on all patients, for the median of the epochs of {count} folds."
    held, fold = found.get("held_out"), found.get("fold")
    if (
        not isinstance(fold, int)
        or not isinstance(held, list)
        or not all(map(is_number, held))
        or not is_count(fold)
        or not 0 < fold <= len(held)
    ):
        return f"One network of a folded training of {count}."
    return (
        f"The network of fold {fold} of {count}: the one whose figure on the patients that it never saw is the median "
        f"({found.get('judged_by')} {number(held[fold - 1])}; the folds have {number(min(held))} to "
        f"{number(max(held))}), so neither the luckiest nor the unluckiest."
    )


def moved_line(calibration: Mapping[str, Any]) -> str | None:
    """Whose answers a file's numbers were fitted on, in words; None: on its own, or out of fold on those alike."""
    found = calibration.get("taken_over")
    if not isinstance(found, dict) or not is_count(found.get("moved_by_slices")):
        return None
    slices = found["moved_by_slices"]
    by = f"by its answers to {slices:,} slices of patients not trained on (their truth was not looked at)"
    if found.get("from") == FOLDS:
        if slices:
            return f"fitted on the folds' single networks, moved to their average {by}"
        return (
            "fitted on the folds' single networks and NOT MOVED to their average: there were no slices to move them by"
        )
    return f"taken over from {found.get('from')}, " + (f"moved {by}" if slices else "as they are")


def its_part(training: Mapping[str, Any]) -> str:
    """What a file is to the networks that a promise out of fold is of, in a sentence; empty where it is not known."""
    found = training.get("folds")
    return {
        "best": "This file is one of these networks.",
        "average": "This file is the average of these networks; none of these patients can tell what it does.",
        "all": "This file is another network, which all of these patients taught.",
    }.get(str(found.get("taken")) if isinstance(found, dict) else "", "")


def taught_by_all(training: Mapping[str, Any]) -> bool:
    """Whether every patient of train and validate taught the file, so that none of them can tell what it does."""
    found = training.get("folds")
    return isinstance(found, dict) and found.get("taken") in ("average", "all")


def cost_of(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an average of networks costs, or None: not an average."""
    found = metrics.get(COST)
    if not isinstance(found, dict) or not all(is_number(found.get(key)) for key in _COST):
        return None
    counts = all(is_count(found.get(key)) for key in ("networks", "batch"))
    return found if counts and all(isinstance(found.get(key), str) for key in ("runtime", "device")) else None


def cost_line(found: Mapping[str, Any]) -> str:
    """The same in words."""
    return (
        f"{found['ms_per_slice']:.1f} ms a slice, where one of its {found['networks']} networks takes "
        f"{found['one_network_ms']:.1f} ({found['ratio']:.1f} times; {found['runtime']} on {found['device']}, batch "
        f"{found['batch']}, where it was exported)"
    )


def agreement_of(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a network of all patients agrees with the folds, or None: not such a network."""
    found = metrics.get(AGREEMENT)
    if not isinstance(found, dict) or not all(is_number(found.get(key)) for key in _SHARES):
        return None
    folds = found.get("folds")
    sound = isinstance(folds, list) and bool(folds) and all(map(is_number, folds)) and is_count(found.get("slices"))
    return found if sound and isinstance(found.get("origin"), str) else None


def agreement_line(found: Mapping[str, Any]) -> str:
    """The same in words."""
    low, high = min(found["folds"]), max(found["folds"])
    return (
        f"gives the class of the folds' mean to {found['same_class']:.1%} of {found['slices']:,} slices "
        f"({found['origin']}), mean |Δp| {found['mean_delta']:.3f}; each fold that of the others' mean to {low:.1%} to "
        f"{high:.1%}"
    )


def _pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
