"""Result tables: same rows in every format, exact paths, fixed digits, whole or absent."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pyarrow.parquet
import pytest

from lits_deploy.errors import OutputError
from lits_deploy.ledger import FAILED, OK, Ledger, ResultRow, VolumeRow
from lits_deploy.results import COLUMNS, FORMATS, PROVENANCE, write_tables
from lits_deploy.spreadsheet import read_rows
from lits_deploy.tables import ROW_GROUP

ROWS = [
    ResultRow('=cmd,"x".png', 0, OK, None, 2, 0.1, 0.25, 0.65, "unverified", "aa", 3.0, 1),
    ResultRow("b/ä.png", 0, FAILED, "the PNG is truncated", None, None, None, None, None, "bb"),
    ResultRow("c.dcm", 1, OK, None, 0, 1.0, 0.0, 1e-9, "0…1 HU", "cc", -12.5, 2),
]
CLASSES = ("no liver", "liver", "liver with lesion")


class FakeLedger:
    """Rows in place of a ledger."""

    def __init__(self, rows: Iterable[ResultRow]) -> None:
        self._rows = rows

    def check(self) -> None:
        pass

    def noted(self, key: str) -> str | None:
        return None

    def rows(self) -> Iterator[ResultRow]:
        return iter(self._rows)

    def rows_by_volume(self) -> Iterator[ResultRow]:
        return iter(sorted(self._rows, key=lambda row: row.volume or 0))

    def volumes(self) -> dict[int, VolumeRow]:
        return {
            1: VolumeRow("s1", "t1", '{"kind":"picture"}', '{"in_mm":false}'),
            2: VolumeRow("s2", "t2", '{"kind":"dicom"}', '{"in_mm":true,"number":2}'),
        }


def write(
    folder: Path, rows: Iterable[ResultRow] = ROWS, kinds: tuple[str, ...] = FORMATS, table: str = "slices"
) -> list[Path]:
    ledger = cast(Ledger, FakeLedger(rows))
    paths = write_tables(folder, kinds, ledger, classes=CLASSES, provenance=dict.fromkeys(PROVENANCE, "x"))
    return [path for path in paths if path.stem == table]


def test_csv_is_plain_and_harmless(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [*ROWS[:2], ROWS[2]._replace(copy_of="b.dcm", number=7)], kinds=("csv",))
    assert path.read_bytes().decode() == (
        "path,index,status,reason,label,class_name,p0,p1,p2,window,sha256,study,series,part,slice,z_mm,copy_of,"
        "run_id,bundle,model,artifact,precision,runtime,contract\n"
        '"\'=cmd,""x"".png",0,ok,,2,liver with lesion,0.100000,0.250000,0.650000,unverified,aa,t1,s1,,,,,x,x,x,x,x,x,x'
        "\n"
        "b/ä.png,0,failed,the PNG is truncated,,,,,,,bb,,,,,,,x,x,x,x,x,x,x\n"
        "c.dcm,1,ok,,0,no liver,1.000000,0.000000,0.000000,0…1 HU,cc,t2,s2,2,7,-12.500000,b.dcm,x,x,x,x,x,x,x\n"
    )


def test_both_tables_are_written_in_every_format(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{t}.{k}" for t in ("slices", "studies") for k in FORMATS}
    with (tmp_path / "studies.csv").open(encoding="utf-8", newline="") as stream:
        studies = list(csv.DictReader(stream))
    assert [(row["rank"], row["series"], row["failed"]) for row in studies] == [
        ("1", "s1", "0"),
        ("2", "s2", "0"),
        ("", "", "1"),
    ]
    assert pyarrow.parquet.read_table(tmp_path / "studies.parquet").column("series").to_pylist() == ["s1", "s2", None]


def test_every_format_tells_the_same(tmp_path: Path) -> None:
    paths = dict(zip(FORMATS, write(tmp_path), strict=True))
    with paths["csv"].open(encoding="utf-8", newline="") as stream:
        from_csv = list(read_rows(stream))
    from_jsonl = [json.loads(line) for line in paths["jsonl"].read_text(encoding="utf-8").splitlines()]
    from_parquet = pyarrow.parquet.read_table(paths["parquet"]).to_pylist()
    for a, b, c in zip(from_csv, from_jsonl, from_parquet, strict=True):
        assert tuple(a) == tuple(b) == tuple(c) == COLUMNS
        for name in COLUMNS:
            if name in ("p0", "p1", "p2", "z_mm") and b[name] is not None:
                assert float(a[name]) == pytest.approx(b[name], abs=1e-6) == pytest.approx(c[name], abs=1e-6)
            else:
                assert a[name] == ("" if b[name] is None else str(b[name]))
                assert b[name] == c[name]


def test_parquet_is_written_in_groups_and_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    rows = [ROWS[0]._replace(path=f"{i:06d}.png") for i in range(ROW_GROUP + 10)]
    (one,), (two,) = write(tmp_path / "1", rows, ("parquet",)), write(tmp_path / "2", rows, ("parquet",))
    assert one.read_bytes() == two.read_bytes()
    assert pyarrow.parquet.ParquetFile(one).metadata.num_row_groups == 2
    assert pyarrow.parquet.ParquetFile(one).schema_arrow.field("p0").type == pyarrow.float32()


def test_no_rows_are_a_table_without_rows(tmp_path: Path) -> None:
    paths = write(tmp_path, [])
    assert paths[0].read_text().count("\n") == 1
    assert pyarrow.parquet.read_table(paths[1]).num_rows == 0


def test_a_table_is_whole_or_the_old_one(tmp_path: Path) -> None:
    (path,) = write(tmp_path, kinds=("csv",))
    before = path.read_bytes()

    class Broken:
        def __iter__(self) -> Iterator[ResultRow]:
            yield ROWS[0]
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write(tmp_path, Broken(), kinds=("csv",))  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"slices.csv", "studies.csv"}


def test_a_folder_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write(tmp_path / "file")
