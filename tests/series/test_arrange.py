"""The series room: identity, copies, parts, order and neighbours, by example and by property."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lits_deploy.series import Arranged, Geometry, SliceFacts, SliceHeader, arrange, natural, steps_of

AXIAL = Geometry(rows=512, columns=512, spacing_mm=(0.8, 0.8), directions=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


def one(
    n: int, *, path: str | None = None, patient: str = "P", geometry: Geometry = AXIAL, **header: Any
) -> SliceFacts:
    """Slice n of a volume: 5 mm apart, numbered from the head, with pixels of its own."""
    given_where: dict[str, Any] = {"position": 5.0 * n, "number": 100 - n, "instance": f"1.{n}"} | header
    return SliceFacts(
        path=path or f"scan/{n:03d}.dcm",
        patient=patient,
        geometry=geometry,
        header=SliceHeader(**given_where),
        content=f"bytes {path or n}",
        pixels=n,
    )


def volume(count: int = 8, **more: Any) -> list[SliceFacts]:
    return [one(n, **more) for n in range(count)]


def named(facts: Sequence[SliceFacts], found: Arranged) -> list[str]:
    return [facts[i].path for i in found.slices]


def test_slices_lie_by_position_whatever_their_names_and_numbers() -> None:
    facts = volume()
    random.Random(0).shuffle(facts)
    (found,) = arrange(facts)
    assert named(facts, found) == [f"scan/{n:03d}.dcm" for n in range(8)]
    assert (found.by, found.steps.step_mm, found.doubts, found.name) == ("position", 5.0, (), "")


@pytest.mark.parametrize(
    ("header", "by"),
    [
        ({"position": None, "location": True}, "slice location"),
        ({"position": None}, "instance number"),
        ({"position": None, "number": None}, "name"),
    ],
)
def test_without_a_position_slice_location_instance_number_and_names_tell_the_order(
    header: dict[str, Any], by: str
) -> None:
    facts = []
    for n in range(1, 13):
        fields = header | ({"location": 5.0 * n} if header.get("location") else {})
        facts.append(one(n, path=f"IM{n}", **({"number": n} | fields)))
    (found,) = arrange(sorted(facts, key=lambda fact: fact.path))
    ordered = [found.slices.index(i) for i in found.slices]
    assert named(sorted(facts, key=lambda fact: fact.path), found) == [f"IM{n}" for n in range(1, 13)]
    assert (found.by, found.neighboured, ordered) == (by, True, list(range(12)))


def test_names_sort_by_their_numbers() -> None:
    assert sorted(["IM10", "IM2", "IM1", "B1", "IM2a"], key=natural) == ["B1", "IM1", "IM2", "IM2a", "IM10"]


@pytest.mark.parametrize("hashed", [True, False])
def test_names_without_a_number_or_hashed_tell_no_order(hashed: bool) -> None:
    names = ["a1", "b2"] if hashed else ["a", "b"]
    facts = [one(n, path=name, position=None, number=None) for n, name in enumerate(names)]
    (found,) = arrange(facts, named=not hashed)
    assert not found.neighboured
    assert found.doubts == ("nothing tells the order of its slices",)


@pytest.mark.parametrize(
    "jitter",
    [
        {"directions": (1.0, 1e-6, 0.0, -1e-6, 1.0, 0.0)},
        {"directions": (0.99999, 0.0009, 0.0, 0.0, 1.0, 0.0)},
        {"spacing_mm": (0.80000001, 0.8)},
    ],
)
def test_rounding_splits_no_series(jitter: dict[str, Any]) -> None:
    facts = [one(n, geometry=replace(AXIAL, **jitter) if n % 2 else AXIAL) for n in range(8)]
    assert len(arrange(facts)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"rows": 256},
        {"reorientation": "flip"},
        {"spacing_mm": (0.81, 0.81)},
        {"directions": (0.99, 0.141, 0, 0, 1, 0)},
        {"spacing_mm": None},
    ],
)
def test_what_is_not_comparable_is_another_volume(other: dict[str, Any]) -> None:
    facts = [one(n, geometry=replace(AXIAL, **other) if n > 5 else AXIAL) for n in range(8)]
    found = arrange(facts)
    assert sorted(len(each.slices) for each in found) == [2, 6]
    assert len({each.variant for each in found}) == 2


def test_two_patients_stay_two_and_one_who_is_not_named_joins_the_only_one() -> None:
    facts = [*volume(4, patient="A"), one(4, patient="")]
    assert [len(found.slices) for found in arrange(facts)] == [5]
    both = [*facts, *volume(4, patient="B")]
    found = arrange(both)
    assert [(each.patient, len(each.slices)) for each in found] == [("A", 4), ("B", 4), ("", 1)]
    assert found[-1].doubts == ("its patient is not known, and the series UID is that of several patients",)


def test_a_copy_counts_once_and_the_shortest_path_is_the_original() -> None:
    facts = [*volume(), *(replace(one(n), path=f"scan/{n:03d} (1).dcm") for n in range(8))]
    (found,) = arrange(facts)
    assert len(found.slices) == 8
    assert {facts[copy].path: facts[original].path for copy, original in found.copies.items()} == {
        f"scan/{n:03d} (1).dcm": f"scan/{n:03d}.dcm" for n in range(8)
    }


def test_slices_of_one_instance_uid_at_other_positions_are_no_copies() -> None:
    (found,) = arrange([replace(one(n, instance="same"), pixels=None, content=None) for n in range(4)])
    assert (len(found.slices), dict(found.copies)) == (4, {})
    assert found.doubts == ("slices of one SOP instance UID differ",)


def test_equal_pixels_at_one_position_are_a_copy_and_elsewhere_they_are_not() -> None:
    facts = [one(0), one(1, instance="a"), one(1, instance="b", path="x"), replace(one(2), pixels=0)]
    (found,) = arrange(facts)
    assert (found.slices, dict(found.copies)) == ((0, 1, 3), {2: 1}) or (found.slices, dict(found.copies)) == (
        (0, 2, 3),
        {1: 2},
    )


def test_one_instance_uid_with_other_pixels_is_a_doubt_and_no_copy() -> None:
    facts = [*volume(3), replace(one(1), path="scan/other.dcm", pixels=99, content="else")]
    (found,) = arrange(facts)
    assert not found.copies
    assert len(found.slices) == 4
    assert "slices of one SOP instance UID differ" in found.doubts


@pytest.mark.parametrize(
    "label", ["acquisition", "temporal position", "trigger time", "kernel", "image type", "dimension", "file"]
)
def test_phases_at_the_same_positions_are_parts_each_with_its_own_neighbours(label: str) -> None:
    facts = [
        one(n, path=f"{n}-{phase}", instance=f"{n}.{phase}", labels={label: phase + 1}, number=10 * phase + n)
        for n in range(6)
        for phase in range(2)
    ]
    facts = [replace(fact, pixels=i) for i, fact in enumerate(facts)]
    found = arrange(facts)
    assert [each.name for each in found] == [f"part 1 of 2: {label} 1", f"part 2 of 2: {label} 2"]
    for phase, each in enumerate(found):
        assert named(facts, each) == [f"{n}-{phase}" for n in range(6)]
        others = each.neighbours(3)
        assert [[facts[i].path for i in others[i]] for i in each.slices][1] == [f"{n}-{phase}" for n in (0, 1, 2)]


def test_phases_that_lie_half_a_step_apart_are_parts_too() -> None:
    facts = [one(n, position=5.0 * n, labels={"acquisition": 1}) for n in range(6)]
    late = [
        one(n, path=f"late/{n}", position=5.0 * n + 2.5, instance=f"l{n}", labels={"acquisition": 2}) for n in range(6)
    ]
    assert [len(each.slices) for each in arrange([*facts, *late])] == [6, 6]


def test_two_kernels_of_two_phases_are_four_parts() -> None:
    facts = [
        replace(
            one(
                n,
                path=f"{n} {kernel} {phase}",
                instance=f"{n}{kernel}{phase}",
                labels={"kernel": kernel, "acquisition": phase},
            ),
            pixels=1000 * n + 10 * phase + ord(kernel),
        )
        for n in range(4)
        for kernel in "ab"
        for phase in (3, 4)
    ]
    assert [each.name for each in arrange(facts)] == [
        f"part {number} of 4: kernel {kernel}, acquisition {phase}"
        for number, (kernel, phase) in enumerate([(1, 3), (1, 4), (2, 3), (2, 4)], start=1)
    ]


def test_stations_one_behind_the_other_and_single_rotations_stay_one_volume() -> None:
    stations = [one(n, labels={"acquisition": n // 3}) for n in range(9)]
    rotations = [one(n, labels={"acquisition": (7 * n) % 9}) for n in range(9)]
    assert len(arrange(stations)) == len(arrange(rotations)) == 1


def test_two_phases_of_single_rotations_are_two_parts() -> None:
    facts = [
        replace(
            one(n, path=f"{n}-{phase}", instance=f"{n}.{phase}", labels={"acquisition": 9 * phase + n}),
            pixels=9 * phase + n,
        )
        for n in range(9)
        for phase in range(2)
    ]
    assert [len(each.slices) for each in arrange(facts)] == [9, 9]


@pytest.mark.parametrize("by", ["clock", "number"])
def test_positions_that_begin_again_in_time_or_number_are_parts(by: str) -> None:
    facts = []
    for n in range(6):
        for phase in range(2):
            fields: dict[str, Any] = {"number": None, "instance": f"{n}.{phase}"}
            fields[by] = (86390 + 8 * phase + n) % 86400 if by == "clock" else 9 * phase + n  # through midnight
            facts.append(replace(one(n, path=f"{n}-{phase}", **fields), pixels=9 * phase + n))
    found = arrange(facts)
    assert [named(facts, each) for each in found] == [[f"{n}-{phase}" for n in range(6)] for phase in range(2)]


def test_what_nothing_tells_apart_is_doubtful_and_has_no_neighbours() -> None:
    facts = [
        replace(one(n, path=f"{n}-{phase}", instance=f"{n}.{phase}", number=2 * n + phase), pixels=9 * phase + n)
        for n in range(6)
        for phase in range(2)
    ]
    (found,) = arrange(facts)
    assert found.doubts == ("slices lie at one position, and nothing tells them apart",)
    assert all(others == (i, i, i) for i, others in found.neighbours(3).items())


@pytest.mark.parametrize("by", ["clock", "number"])
@pytest.mark.parametrize("down", [False, True])
def test_a_phase_of_a_smaller_extent_keeps_its_slices(by: str, down: bool) -> None:
    """The later phase begins below the earlier one: its first slices repeat no position."""
    short, long = list(range(4, 10)), list(range(14))[:: -1 if down else 1]
    slices = [(phase, n) for phase, extent in enumerate([short, long]) for n in extent]
    facts = [
        replace(
            one(n, path=f"{n}-{phase}", instance=f"{n}.{phase}", **({"number": None} | {by: number})),
            pixels=number,
        )
        for number, (phase, n) in enumerate(slices)
    ]
    assert [named(facts, each) for each in arrange(facts)] == [
        [f"{n}-{phase}" for n in sorted(extent)] for phase, extent in enumerate([short, long])
    ]


@pytest.mark.parametrize("by", ["clock", "number"])
@pytest.mark.parametrize("apart", [0.02, 0.5, 2.5])
def test_phases_a_little_apart_are_told_by_time_or_number(by: str, apart: float) -> None:
    """A table does not come back to where it was to a hundredth of a millimetre."""
    facts = []
    for phase in range(2):
        for n in range(6):
            fields: dict[str, Any] = {"number": None, "instance": f"{n}.{phase}", "position": 5.0 * n + apart * phase}
            fields[by] = 9 * phase + n
            facts.append(replace(one(n, path=f"{n}-{phase}", **fields), pixels=9 * phase + n))
    assert [named(facts, each) for each in arrange(facts)] == [[f"{n}-{phase}" for n in range(6)] for phase in range(2)]


@pytest.mark.parametrize(
    "order", [[0, 1, 2, 6, 7, 8, 3, 4, 5], [6, 7, 8, 0, 1, 2, 3, 4, 5], [4, 2, 8, 1, 5, 0, 7, 3, 6]]
)
def test_a_volume_that_was_not_acquired_from_end_to_end_stays_one(order: list[int]) -> None:
    (found,) = arrange([one(n, number=order.index(n), clock=float(order.index(n))) for n in range(9)])
    assert (len(found.slices), found.doubts) == (9, ())


def test_numbers_that_begin_again_themselves_tell_no_phases_apart() -> None:
    """One phase numbered upwards and one downwards: cut by number, each part would be half of both."""
    facts = [
        replace(
            one(n, path=f"{n}-{phase}", instance=f"{n}.{phase}", number=9 - n if phase else n), pixels=10 * phase + n
        )
        for n in range(10)
        for phase in range(2)
    ]
    (found,) = arrange(facts)
    assert found.doubts == ("slices lie at one position, and nothing tells them apart",)


def test_positions_that_are_all_the_same_give_way_to_slice_locations() -> None:
    (found,) = arrange([one(n, position=0.0, location=5.0 * n) for n in range(6)])
    assert (found.slices, found.by, found.doubts) == (tuple(range(6)), "slice location", ())


def test_one_position_imaged_again_and_again_is_one_doubtful_volume_and_not_many() -> None:
    (found,) = arrange([one(n, position=0.0, clock=float(n)) for n in range(20)])
    assert found.doubts == ("slices lie at one position, and nothing tells them apart",)
    assert found.slices == tuple(range(19, -1, -1))  # as they are numbered


@pytest.mark.parametrize("labels", ["AAAABBAAAA", "AAABBBCCCA", "1113332224"])
def test_a_block_of_slices_with_another_label_stays_in_the_gap_that_it_fills(labels: str) -> None:
    labelled: list[dict[str, Any]] = [{"acquisition": int(x)} if x.isdigit() else {"kernel": x} for x in labels]
    facts = [one(n, labels=label) for n, label in enumerate(labelled)]
    (found,) = arrange(facts)
    assert (found.steps.missing, len(found.slices)) == (0, 10)


def test_parts_have_names_of_their_own() -> None:
    labelled: list[Any] = [{"acquisition": 2}, {}]
    facts = [
        replace(one(n, path=f"{n}-{part}", instance=f"{n}.{part}", labels=labels), pixels=9 * part + n)
        for n in range(4)
        for part, labels in enumerate(labelled)
    ]
    assert [each.label for each in arrange(facts)] == ["acquisition 2", "no acquisition"]


@pytest.mark.parametrize("swapped", [False, True])
def test_names_do_not_number_parts_nor_sort_slices_at_one_position(swapped: bool) -> None:
    """Paths may be hashes: two kernels, and two slices that nothing tells apart."""
    for kernels in ({"kernel": True}, {}):
        facts = [
            replace(
                one(
                    n,
                    path=f"{part ^ swapped}/{n}",
                    instance=f"{n}.{part}",
                    number=n,
                    labels={"kernel": "ab"[part]} if kernels else {},
                ),
                pixels=9 * part + n,
            )
            for n in range(4)
            for part in range(2)
        ]
        wanted = [[0, 1, 2, 3], [9, 10, 11, 12]] if kernels else [[0, 9, 1, 10, 2, 11, 3, 12]]
        assert _volumes(facts) == wanted


@pytest.mark.parametrize("label", ["acquisition", "none"])
def test_one_instance_uid_for_all_slices_makes_no_copies_before_pixels_are_known(label: str) -> None:
    """Else slices of one phase would have those of the other beside them."""
    facts = [
        replace(
            one(n, path=f"{n}-{phase}", instance="same", labels={label: phase}, number=9 * phase + n),
            pixels=None,
            content=None,
        )
        for n in range(6)
        for phase in range(2)
    ]
    found = arrange(facts)
    assert [named(facts, each) for each in found] == [[f"{n}-{phase}" for n in range(6)] for phase in range(2)]
    assert all(each.doubts == ("slices of one SOP instance UID differ",) for each in found)


def test_the_original_is_one_that_was_not_excluded() -> None:
    facts = [one(0), replace(one(1), pixels=None), replace(one(1), path="a longer path/001.dcm", content="mended")]
    (found,) = arrange(facts)
    assert (found.slices, dict(found.copies)) == ((0, 2), {1: 2})


def test_equal_bytes_are_a_copy_where_nothing_tells_a_position() -> None:
    facts = [one(n, path=path, position=None, number=None, instance=None) for n, path in enumerate("abc")]
    (found,) = arrange([*facts, replace(facts[0], path="a (1)"), replace(facts[1], path="d", content="other")])
    assert (len(found.slices), dict(found.copies)) == (4, {3: 0})


def test_a_file_that_failed_is_listed_and_is_beside_nobody() -> None:
    facts = [*volume(3), SliceFacts(path="scan/bad.dcm", patient="P", geometry=AXIAL)]
    (found,) = arrange(facts)
    assert (found.slices, found.failed) == ((0, 1, 2), (3,))
    assert found.neighbours(3) == {0: (0, 0, 1), 1: (0, 1, 2), 2: (1, 2, 2)}


def test_gaps_repeats_and_irregular_distances_are_found() -> None:
    steps = steps_of([0, 5, 10, 15, 30, 30.001, 35, 42])
    assert (steps.step_mm, steps.missing, steps.repeated, steps.irregular, steps.extent_mm) == (5.0, 2, 1, 1, 42)
    assert steps_of([7.0]).step_mm is None


labels = st.sampled_from(["none", "acquisition", "kernel"])


@given(st.integers(1, 12), st.integers(1, 3), labels, st.randoms(use_true_random=False), st.integers(0, 5))
def test_shuffled_copied_and_renumbered_a_series_is_the_same(
    count: int, phases: int, label: str, rng: random.Random, copied: int
) -> None:
    """The volumes depend neither on the order of files, nor on copies, names, or instance numbers where labels tell."""
    phases = phases if label != "none" else 1
    facts = [
        replace(
            one(n, path=f"s/{n}-{phase}.dcm", instance=f"{n}.{phase}", labels={label: phase} if phases > 1 else {}),
            pixels=100 * phase + n,
            content=f"{n}.{phase}",
        )
        for n in range(count)
        for phase in range(phases)
    ]
    wanted = _volumes(facts)
    assert len(wanted) == phases
    changed = [
        *facts,
        *(replace(fact, path=f"copies/of/{fact.path}") for fact in rng.sample(facts, min(copied, len(facts)))),
    ]
    rng.shuffle(changed)
    assert _volumes(changed) == wanted
    renamed = [replace(fact, path=f"{rng.random()}.dcm") for fact in facts]
    assert _volumes(renamed) == wanted
    if phases > 1:  # else numbers drawn by lot may, once in 10,000 times, look like two phases that take turns
        numbers = [rng.randrange(999) for _ in renamed]
        headers = [replace(fact.header or SliceHeader(), number=n) for fact, n in zip(renamed, numbers, strict=True)]
        assert _volumes([replace(one, header=header) for one, header in zip(renamed, headers, strict=True)]) == wanted


def _volumes(facts: Sequence[SliceFacts]) -> list[list[int | None]]:
    return [[facts[i].pixels for i in found.slices] for found in arrange(facts)]


@given(
    st.lists(
        st.builds(
            one,
            st.integers(0, 9),
            path=st.text("ab19/.", min_size=1, max_size=6),
            patient=st.sampled_from(["", "A", "B"]),
            geometry=st.sampled_from([AXIAL, Geometry(), replace(AXIAL, rows=9)]),
            position=st.sampled_from([None, 0.0, 5.0, 5.005, 10.0]),
            location=st.sampled_from([None, 1.0]),
            number=st.sampled_from([None, 1, 2]),
            instance=st.sampled_from([None, "x", "y"]),
            clock=st.sampled_from([None, 0.0, 5.0]),
            labels=st.dictionaries(st.sampled_from(["kernel", "acquisition"]), st.integers(0, 2)),
        ),
        max_size=14,
    )
)
def test_every_slice_is_in_one_volume_whatever_headers_say(facts: list[SliceFacts]) -> None:
    found = arrange(facts)
    everyone = sorted(i for each in found for i in (*each.slices, *each.copies, *each.failed))
    assert everyone == list(range(len(facts)))
    for each in found:
        others = each.neighbours(3)
        assert set(others) == {*each.slices, *each.copies}
        assert all(channels[1] == i for i, channels in others.items())
        assert len({facts[i].patient for i in each.slices if facts[i].patient}) <= 1
