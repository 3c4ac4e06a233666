"""Table 1: how many slices of each class each split has."""

from __future__ import annotations

from train.data.layout import SPLITS
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.tables import Cell, Column, Table


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
    rows: list[dict[str, Cell]] = []
    total = len(data.samples)
    for split in SPLITS:
        slices, share, classes, shares = printed.TABLE1[split]
        found = data.counts(split)
        rows.append(
            {
                "split": split, "class": "all", "printed": slices, "printed_percent": share, "measured": sum(found),
                "measured_percent": 100 * sum(found) / total, "patients": len(data.layout.patients(split)),
            }
        )  # fmt: skip
        for target in range(3):
            people = {s.patient for s in data.layout.splits[split] if data.classes[s.image] == target}
            rows.append(
                {
                    "split": split, "class": str(target), "printed": classes[target],
                    "printed_percent": shares[target], "measured": found[target],
                    "measured_percent": 100 * found[target] / sum(found), "patients": len(people),
                }
            )  # fmt: skip
    rows.append({"split": "all", "class": "all", "printed": printed.TABLE1_TOTAL, "measured": total,
                 "patients": len({sample.patient for sample in data.samples})})  # fmt: skip
    columns = (
        Column(key="split", title="split"), Column(key="class", title="class"),
        Column(key="printed", title="slices, printed"), Column(key="measured", title="slices, measured"),
        Column(key="printed_percent", title="%, printed"), Column(key="measured_percent", title="%, measured"),
        Column(key="patients", title="patients, measured"),
    )  # fmt: skip
    note = "A split's share is of all slices, a class's share is of its split. " + printed.TABLE1_MISPRINT
    bench.keep(
        Table(name="table1", title="Table 1: slices of each split and class", columns=columns, rows=rows, notes=[note])
    )
    if leaks := data.layout.leaks():
        bench.note(f"{len(leaks)} patients stand in more than one split of {data.name}: it is split by slice.")
