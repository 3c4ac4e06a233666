"""Table 1: how many slices of each class each split has."""

from __future__ import annotations

from train.data.layout import SPLITS
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.tables import RecipeColumn


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
    rows: list[tuple[str, str, int, int, float | None, float | None, int]] = []
    for split in SPLITS:
        slices, share, classes, shares = thesis_numbers.TABLE1[split]
        found, patients = data.counts(split), len(data.layout.patients(split))
        rows.append((split, "all", slices, sum(found), share, 100 * sum(found) / total, patients))
        for target in range(3):
            people = {s.patient for s in data.layout.splits[split] if data.classes[s.image] == target}
            percent = 100 * found[target] / sum(found)
            rows.append((split, str(target), classes[target], found[target], shares[target], percent, len(people)))
    patients = len({sample.patient for sample in data.samples})
    rows.append(("all", "all", thesis_numbers.TABLE1_TOTAL, total, None, None, patients))
    columns = (
        RecipeColumn("split", "split"),
        RecipeColumn("class", "class"),
        RecipeColumn("printed", "slices, printed"),
        RecipeColumn("measured", "slices, measured"),
        RecipeColumn("printed_percent", "%, printed"),
        RecipeColumn("measured_percent", "%, measured"),
        RecipeColumn("patients", "patients, measured"),
    )
    note = "A split's share is of all slices, a class's share is of its split. " + thesis_numbers.TABLE1_MISPRINT
    bench.table("table1", "Table 1: slices of each split and class", columns, rows, note)
    if leaks := data.layout.leaks():
        bench.note(f"{len(leaks)} patients occur in more than one split of {data.name}: it is split by slice.")
