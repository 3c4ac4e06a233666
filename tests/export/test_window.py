"""A window that the training did not record, declared at export; and a training without one, which says so first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.reference import open_reference
from fake_training import FakeTraining
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import ContractError, UserError
from lits_deploy.verify import verify
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.run import train
from train.session import Observer


def untrained(folder: Path, window: tuple[float, float] | None) -> Path:
    """A run of a U-Net in miniature, on data that declares no window."""
    data = make_tiny_data(folder / "data", slices=2)
    contract = InputContract(window_hu=window, crop=None, size=64)
    FakeTraining()(TrainConfig(model="unet", width=2, data=data, epochs=1, contract=contract), folder / "run")
    (folder / "run/test.json").unlink()
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("window"), None)


@pytest.fixture(scope="module")
def declared(run: Path) -> tuple[Bundle, str]:
    arguments = ["export", str(run), "--window", "-160", "240", "--out", str(run.parent / "declared")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Bundle.open(run.parent / "declared"), result.output


def test_the_window_of_a_run_is_declared_at_export_and_said_everywhere(declared: tuple[Bundle, str]) -> None:
    bundle, output = declared
    assert bundle.manifest.contract.window_hu == (-160.0, 240.0)
    problems, checks = verify(bundle.folder)
    assert not problems
    assert all(check.passed for check in checks)
    assert "window [-160, 240] HU: declared at export, not recorded by the training" in output
    card = (bundle.folder / "README.md").read_text()
    assert "window [-160, 240] HU (declared at export; the training did not record it)." in card
    page = CliRunner().invoke(app, ["bundle", "inspect", str(bundle.folder)]).output
    assert "window [-160, 240] HU (declared at export)" in page


def test_benchmark_still_knows_the_run_it_came_from(declared: tuple[Bundle, str], run: Path) -> None:
    assert open_reference(declared[0], run, 1).about["exported_from_it"]


def export_refused(*arguments: str) -> UserError:
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(app, ["export", *arguments], catch_exceptions=False)
    return caught.value


def test_another_window_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    run = untrained(tmp_path, (-40.0, 160.0))
    error = export_refused(str(run), "--window", "-160", "240")
    assert str(error) == "The run recorded the window [-40, 160] HU, not [-160, 240] HU. Fix: leave --window out"
    assert not (tmp_path / "run-bundle").exists()


def test_data_that_declares_another_window_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_tiny_data(tmp_path / "other", slices=1, window=[-40, 160])
    error = export_refused(str(run), "--data", str(other), "--window", "-160", "240")
    assert "other declares the window [-40, 160] HU, not [-160, 240] HU" in str(error)
    recorded = untrained(tmp_path / "recorded", (-160.0, 240.0))
    error = export_refused(str(recorded), "--data", str(other))
    assert "other declares the window [-40, 160] HU, not [-160, 240] HU" in str(error)


@pytest.mark.parametrize("window", [("240", "-160"), ("5", "5"), ("-inf", "inf"), ("0", "nan")])
def test_a_window_that_is_none_is_refused(run: Path, window: tuple[str, str]) -> None:
    assert isinstance(export_refused(str(run), "--window", *window), ContractError)


def test_a_bundle_takes_no_window(declared: tuple[Bundle, str]) -> None:
    trt = ["--trt", "--trt-flavour", "rtx", "--compute-capability", "sm86"]
    error = export_refused(str(declared[0].folder), *trt, "--window", "-160", "240")
    assert "is a bundle already" in str(error)


class StopsAtOnce(Observer):
    """Ends a training at its first line."""

    def say(self, line: str) -> None:
        raise KeyboardInterrupt(line)


def test_training_without_a_window_says_so_before_it_begins(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=1)
    config = TrainConfig(model="unet", width=2, data=data, contract=InputContract(window_hu=None, crop=None))
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(config, tmp_path / "run", observer=StopsAtOnce())
    (line,) = stopped.value.args
    assert line.startswith(f"warning: {data} declares no window, so the bundle will refuse DICOM and NIfTI. Fix: stop")
    assert f"lits-deploy export {tmp_path / 'run'} --window LOW HIGH" in line
    assert not (tmp_path / "run").exists(), "nothing is made: the corrected command finds no run in its way"


def test_training_with_a_window_does_not_warn(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/letters").write_text("precious")
    lines: list[str] = []

    class Listens(Observer):
        def say(self, line: str) -> None:
            lines.append(line)

    config = TrainConfig(model="unet", width=2, data=data, contract=InputContract(window_hu=(0, 1), crop=None))
    with pytest.raises(UserError, match="not empty"):
        train(config, tmp_path / "run", observer=Listens())
    assert lines == []


def test_export_without_any_window_warns(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.run.export", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(run.parent / "none")])
    assert "the window is unknown, so the bundle will refuse DICOM and NIfTI. Fix: export again" in result.output
    assert json.loads((run / "config.json").read_text())["contract"]["window_hu"] is None
