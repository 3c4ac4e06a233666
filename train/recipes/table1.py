"""Table 1: how many slices of each class each split has."""

from __future__ import annotations

from train.data.layout import SPLITS
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.tables import Column


def table1(bench: Bench) -> None:
    """Count the slices of the data at hand beside those of Clean_LiTS.

    Thesis: Table 1 counts 41,561 slices of 256×256 in train, validate and test, by class: 0 no liver, 1 liver, 2 liver
    and lesion.

    Silent: which slices of which patients went where. As far as the text says, slices of one patient stand in more
    than one split. Its validate classes add up to 3,038 where 3,039 is printed.

    Ours: the files of the data set are counted as they lie there, never scaled; a slice's class is the largest label
    in its mask, or what targets.csv says. Patients are counted too.
    """
    data = bench.data
    total = len(data.samples)
    rows: list[tuple[str, str, int, float | None, int, float | None, int]] = []
    for split in SPLITS:
        slices, share, classes, shares = printed.TABLE1[split]
        found, patients = data.counts(split), len(data.layout.patients(split))
        rows.append((split, "all", slices, share, sum(found), 100 * sum(found) / total, patients))
        for target in range(3):
            people = {s.patient for s in data.layout.splits[split] if data.classes[s.image] == target}
            measured = found[target], 100 * found[target] / sum(found), len(people)
            rows.append((split, str(target), classes[target], shares[target], *measured))
    patients = len({sample.patient for sample in data.samples})
    rows.append(("all", "all", printed.TABLE1_TOTAL, None, total, None, patients))
    columns = (
        Column("split", "split", lambda *row: row[0]),
        Column("class", "class", lambda *row: row[1]),
        Column("printed", "slices, printed", lambda *row: row[2]),
        Column("measured", "slices, measured", lambda *row: row[4]),
        Column("printed_percent", "%, printed", lambda *row: row[3]),
        Column("measured_percent", "%, measured", lambda *row: row[5]),
        Column("patients", "patients, measured", lambda *row: row[6]),
    )
    note = "A split's share is of all slices, a class's share is of its split. " + printed.TABLE1_MISPRINT
    bench.table("table1", "Table 1: slices of each split and class", columns, rows, note)
    if leaks := data.layout.leaks():
        bench.note(f"{len(leaks)} patients occur in more than one split of {data.name}: it is split by slice.")
