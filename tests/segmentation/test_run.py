"""A segmentation as a whole: refused early or done, resumed to the same bytes, private, over its own folder alone."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread

from folder_runs import SALT
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, MissingExtra, OutputError, UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime.base import Batch, Outputs
from lits_deploy.segmentation import folder as folder_module
from lits_deploy.segmentation import run as module
from lits_deploy.segmentation.run import segment_folder
from masked import make_unet, segment, table
from planted import BASE, BIRTHDAY, DIGITS, HEADER, NAMES, everything, found_in, plant, planted_scans
from tiny_bundle import make_tiny_bundle
from worlds import SERIES, SIZE, Series, Thresholds

pytest.importorskip("highdicom")
ALL = ("png", "nifti", "dicom-seg")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in everything(folder)}


def test_what_cannot_work_is_refused_before_any_work(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, out = SERIES[0].write(tmp_path / "scans"), tmp_path / "out"
    with pytest.raises(UserError, match="`jpeg` is not a format of masks"):
        segment(bundle, scans, out, "png", "jpeg")
    with pytest.raises(UserError, match=r"names its patient.*Fix: --identify"):
        segment(bundle, scans, out, "dicom-seg", identify=False)
    with pytest.raises(BundleError, match="needs a U-Net"):
        segment(make_tiny_bundle(tmp_path / "classifier", size=SIZE, crop=56), scans, out)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    with pytest.raises(MissingExtra, match=r"lits-deploy\[dicom-out\]"):
        segment(bundle, scans, out, "dicom-seg")
    assert not out.exists()
    segment(bundle, scans, out, "png", "nifti")  # which need no highdicom


def test_another_folder_of_masks_is_never_touched(bundle: Bundle, tmp_path: Path) -> None:
    scans, out = SERIES[0].write(tmp_path / "scans"), tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "truth.png").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not from lits-deploy"):
            segment(bundle, scans, out, overwrite=overwrite)
    assert tree(out) == {"masks/truth.png": b"years of work"}


def test_a_run_replaces_its_own_masks_and_leaves_none_of_the_last(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    SERIES[0].write(tmp_path / "scans")
    segment(bundle, tmp_path / "scans", out, *ALL)
    before = tree(out / "masks")
    segment(bundle, tmp_path / "scans", out, *ALL)
    assert tree(out / "masks") == before  # the SEG too: made again, it is the same object
    (tmp_path / "scans/head-first/IM003").unlink()
    segment(bundle, tmp_path / "scans", out, *ALL)
    assert "png/head-first/IM003.0000.png" not in tree(out / "masks")
    segment(bundle, tmp_path / "scans", out, "png", overwrite=True, salt="another")
    assert {name.split("/")[0] for name in tree(out / "masks")} == {"png", ".lits-deploy"}
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]


def test_stopped_and_started_again_it_ends_in_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    for series in SERIES[:3]:
        series.write(tmp_path / "scans")
    segment(bundle, tmp_path / "scans", tmp_path / "undisturbed", "png", "nifti")
    stop = Stop()

    class Interrupting(Thresholds):
        def _infer(self, batch: Batch) -> Outputs:
            stop.request()
            return super()._infer(batch)

    out = tmp_path / "out"
    network = Interrupting(shape=(1, SIZE, SIZE))
    first = segment(bundle, tmp_path / "scans", out, "png", "nifti", batch_size=2, network=network, stop=stop)
    assert first.run.stopped
    assert not first.written
    assert not (out / "masks").exists()
    second = segment(bundle, tmp_path / "scans", out, "png", "nifti")
    assert second.run.resumed
    assert second.written
    ours = ("slices.csv", "studies.csv", "volumes.csv", "masks.csv")
    for name in ours:
        assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert tree(out / "masks") == tree(tmp_path / "undisturbed" / "masks")


def test_stopped_while_masks_are_written_it_says_so_and_writes_them_next_time(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for series in SERIES[:3]:
        series.write(tmp_path / "scans")
    stop, real = Stop(), module.read_headers

    def stopping(*arguments: Any) -> Any:
        stop.request()
        return real(*arguments)

    monkeypatch.setattr(module, "read_headers", stopping)
    first = segment(bundle, tmp_path / "scans", tmp_path / "out", "nifti", stop=stop)
    assert (first.written, first.run.stopped, first.run.missing) == (False, False, 0)
    assert not (tmp_path / "out/masks").exists()
    monkeypatch.undo()
    second = segment(bundle, tmp_path / "scans", tmp_path / "out", "nifti")
    assert second.masks == {"nifti": 3}


def test_a_full_disk_leaves_the_last_masks_and_is_one_line(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    SERIES[0].write(tmp_path / "scans")
    segment(bundle, tmp_path / "scans", out, "png")
    before = tree(out / "masks")
    (out / ".masks.1.tmp" / "png").mkdir(parents=True)  # as a kill leaves it

    for room in (0, 1):  # for the mark of the folder, and for a mask
        left = iter(range(room))

        def full(_: int, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr(
            folder_module,
            "os",
            SimpleNamespace(fsync=full, fdopen=os.fdopen, strerror=os.strerror, getpid=os.getpid),
        )
        with pytest.raises(OutputError, match="no space left on device"):
            segment(bundle, tmp_path / "scans", out, "png")
        monkeypatch.undo()
        assert tree(out / "masks") == before
        assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]


def test_tables_come_in_every_format(bundle: Bundle, tmp_path: Path) -> None:
    SERIES[0].write(tmp_path / "scans")
    segment(bundle, tmp_path / "scans", tmp_path / "out", "png", formats=("csv", "parquet", "jsonl"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        f"{name}.{kind}" for name in ("slices", "studies", "volumes", "masks") for kind in ("csv", "parquet", "jsonl")
    } <= names


SECRET = (HEADER, DIGITS, BIRTHDAY, BASE)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted scans, and a planted series that is classified."""
    root = planted_scans(tmp_path_factory.mktemp("planted"))
    folder = root / f"{NAMES}_LARGE"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values that the standard would not have
        for number in range(SERIES[0].count):
            dataset = dcmread(io.BytesIO(SERIES[0].file(number)))
            plant(dataset, number)
            dataset.save_as(folder / f"{NAMES}{number}")
    return root


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_nothing_of_a_patient_is_in_masks_and_tables(
    bundle: Bundle, planted: Path, tmp_path: Path, pseudonymous: bool
) -> None:
    out = tmp_path / "out"
    summary = segment(
        bundle, planted, out, "png", "nifti", pseudonymous=pseudonymous, formats=("csv", "parquet", "jsonl")
    )
    assert summary.slices == {"nifti": 6, "png": 9}
    secrets = (*SECRET, NAMES) if pseudonymous else SECRET
    for path in everything(out):
        assert found_in(path, secrets) == set(), path.relative_to(out)
        assert not pseudonymous or NAMES not in str(path.relative_to(out))


def test_asked_to_identify_a_seg_holds_its_patient_and_no_other_word(
    bundle: Bundle, planted: Path, tmp_path: Path
) -> None:
    summary = segment(bundle, planted, tmp_path / "out", "dicom-seg")
    assert summary.masks["dicom-seg"] >= 1
    # What a SEG has to repeat: name, id, accession number, study id, birth date and UIDs.
    planted_values = (f"{HEADER}^DOE", f"{HEADER} long", f"{HEADER}SH")
    for path in (tmp_path / "out/masks/dicom-seg").iterdir():
        data = path.read_bytes()
        assert found_in(path, (HEADER, DIGITS, BIRTHDAY)) == {HEADER, DIGITS, BIRTHDAY}
        assert data.count(HEADER.encode()) == 4
        assert all(value.encode() in data for value in planted_values)
        assert (
            found_in(path, (f"{HEADER} text", f"{HEADER} short", f"{HEADER} private", f"{HEADER} unl", NAMES, BASE))
            == set()
        )


def test_the_command_line_says_nothing_of_a_patient(bundle: Bundle, planted: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "lits_deploy", "segment", str(bundle.folder), str(planted)]
    command += ["--out", str(tmp_path / "out"), "--masks", "dicom-seg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=os.environ | {"HOME": str(tmp_path)})
    assert done.returncode == 2
    (tmp_path / "said").write_bytes(done.stdout + done.stderr)
    assert b"--identify" in done.stderr
    assert found_in(tmp_path / "said", (*SECRET, NAMES)) == set()
    assert not (tmp_path / "out").exists()


def test_the_bundles_own_network_is_used(tmp_path: Path) -> None:
    """A real U-Net graph, exported as bundles are: `labels` comes from ONNX Runtime."""
    onnx = pytest.importorskip("onnx")
    from tiny_unet import make_tiny_unet

    assert onnx
    bundle = make_tiny_unet(tmp_path / "unet", size=SIZE)
    Series(name="ct").write(tmp_path / "scans")
    options = ClassifyOptions(salt=SALT, workers=1, runtime="onnxruntime")
    summary = segment_folder(bundle, [tmp_path / "scans"], tmp_path / "out", masks=("png",), options=options)
    own = segment(make_unet(tmp_path / "fake"), tmp_path / "scans", tmp_path / "fake-out", "png")
    assert summary.masks == own.masks
    assert tree(tmp_path / "out" / "masks") == tree(tmp_path / "fake-out" / "masks")
    assert [row["liver_ml"] for row in table(tmp_path / "out", "volumes")] == [
        row["liver_ml"] for row in table(tmp_path / "fake-out", "volumes")
    ]
