"""Who is held out with whom: whole patients, always the same ones, folds alike."""

from __future__ import annotations

import random

import pytest

from train.folds.deal import SliceCounts, deal


def patients(count: int, seed: int = 1) -> dict[str, SliceCounts]:
    """Some with many lesion slices, a third with none."""
    rng = random.Random(seed)
    found = {}
    for number in range(count):
        slices = rng.randint(40, 400)
        liver = rng.randint(20, slices // 2)
        found[str(number)] = SliceCounts(slices, liver, rng.randint(1, liver) if number % 3 else 0)
    return found


@pytest.mark.parametrize(("count", "folds"), [(21, 5), (10, 5), (7, 3), (2, 2), (131, 10)])
def test_every_patient_is_in_one_fold_and_folds_are_of_one_size(count: int, folds: int) -> None:
    dealt = deal(patients(count), folds, 0)
    assert sorted(name for fold in dealt for name in fold) == sorted(patients(count))
    sizes = [len(fold) for fold in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


def test_the_order_of_patients_does_not_matter_and_the_seed_does() -> None:
    there = patients(21)
    names = list(there)
    random.Random(3).shuffle(names)
    dealt = deal(there, 5, 0)
    assert deal({name: there[name] for name in names}, 5, 0) == dealt
    assert deal(there, 5, 1) != dealt


def test_folds_have_their_share_of_lesions_and_liver() -> None:
    there = patients(21)
    dealt = deal(there, 5, 0)
    for column in range(3):
        total = sum(counts[column] for counts in there.values())
        shares = [sum(there[name][column] for name in fold) / total for fold in dealt]
        assert all(0.12 < share < 0.28 for share in shares), shares


def test_patients_without_lesions_are_dealt_too() -> None:
    there = {str(number): SliceCounts(10, 0, 0) for number in range(6)}
    assert sorted(len(fold) for fold in deal(there, 3, 0)) == [2, 2, 2]


def test_a_deal_stays_what_it_was() -> None:
    """No library's generator is in it: a data set is dealt in later years as it was today."""
    there = {str(number): SliceCounts(100 + 10 * number, 40 + number, number % 3 * 5) for number in range(7)}
    assert deal(there, 3, 0) == (("3", "5"), ("0", "1", "4"), ("2", "6"))
    assert deal(there, 3, 1) == (("2", "6"), ("3", "5"), ("0", "1", "4"))
