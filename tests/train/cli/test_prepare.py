"""`lits-deploy data prepare` as it is typed: what it prints, its exit codes, its one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from lits_deploy.errors import DataError, UserError
from lits_sources import noise_patient, write_lits, write_masks
from train.data.layout import read_layout

runner = CliRunner()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four LiTS volumes, one of them without its segmentation."""
    folder = write_lits(tmp_path_factory.mktemp("cli") / "raw", [noise_patient(number) for number in range(4)])
    (folder / "Training Batch 1" / "segmentation-2.nii").unlink()
    return folder


def test_it_prints_the_table_the_failures_and_the_next_command(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    arguments = ["data", "prepare", str(raw), str(out), "--layout", "lits", "--window", "-40", "160", "--workers", "1"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 1
    for text in (
        "2 liver with lesion",
        "window -40…160 HU, split by patient",
        "orientation by the pixels: unsure: 3",
        "failed (1)",
        "there is no segmentation-2.nii",
        f"lits-deploy data check {out}",
        "not for clinical use",
    ):
        assert text in result.output, text
    assert read_layout(out).window_hu == (-40.0, 160.0)
    again = runner.invoke(app, [*arguments, "--resume"], catch_exceptions=False)
    assert again.exit_code == 1
    assert "3 volumes were done before" in again.output


def test_the_thesis_split_is_said_on_screen(tmp_path: Path) -> None:
    raw = write_masks(tmp_path / "raw", [noise_patient(number, slices=20) for number in range(3)])
    arguments = ["data", "prepare", str(raw), str(tmp_path / "out"), "--layout", "masks", "--split-by", "slice"]
    result = runner.invoke(app, [*arguments, "--fractions", "60,20,20", "--workers", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "window unknown, split by slice" in result.output
    assert "every accuracy will be too high" in result.output
    assert read_layout(tmp_path / "out").describe()["split_by"] == "slice"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["--layout", "lits"], UserError, "--window -160 240"),
        (["--layout", "lits", "--window", "160", "-40"], UserError, "LOW < HIGH"),
        (["--layout", "lits", "--window", "-40", "160", "--fractions", "70,x,15"], UserError, "70,15,15"),
        (["--layout", "msd", "--window", "-40", "160"], DataError, "imagesTr"),
        (["--layout", "lits-png"], DataError, "another --layout"),
    ],
)
def test_mistakes_name_the_fix(
    raw: Path, tmp_path: Path, arguments: list[str], error: type[UserError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        runner.invoke(app, ["data", "prepare", str(raw), str(tmp_path / "out"), *arguments], catch_exceptions=False)
    assert caught.value.fix
    assert not (tmp_path / "out").exists()
