"""What a program sees of the package: light, silent, typed, its names kept, its errors one line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lits_deploy as ld
from lits_deploy.packing import pack
from pictures import folder_of_slices, grey_pixels, save
from scan_files import WINDOW, body
from tiny_bundle import make_tiny_bundle

SIZE = 64
CPU = ld.ClassifyOptions(runtime="onnxruntime", device="cpu", workers=1)
PUBLIC = {
    *("Bundle", "Classifier", "Segmenter", "classify_folder", "segment_folder", "scan", "read_results"),
    *("ClassifyOptions", "Reading", "Progress", "RunSummary", "SegmentSummary", "Survey"),
    *("SliceAnswer", "SeriesAnswer", "MaskAnswer", "MaskSeries", "Stop", "DISCLAIMER", "__version__"),
    *("LitsError", "UserError", "BundleError", "ContractError", "DeviceError", "MissingExtra", "OutputError"),
    "StorageError",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ld.Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=SIZE, crop=56, window_hu=WINDOW)


def test_these_names_are_promised() -> None:
    assert set(ld.__all__) == PUBLIC
    assert set(ld.__all__) <= set(dir(ld))
    for name in ld.__all__:
        assert getattr(ld, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'clasify_folder'"):
        ld.clasify_folder  # noqa: B018


def test_types_and_run_time_name_the_same() -> None:
    text = Path(ld.__file__).read_text(encoding="utf-8")
    typed = text[text.index("if TYPE_CHECKING:") : text.index("__all__ = [")]
    for module, names in ld._IN.items():
        block = typed[typed.index(f"from {module} import") :].split("    from ", 2)[0]
        assert all(name in block for name in names), module


def test_the_import_and_the_errors_load_no_numpy() -> None:
    code = "import lits_deploy as ld, sys\nassert ld.UserError and ld.__version__\nprint('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("kind", ["text", "path", "zip", "zip text", "opened"])
def test_a_bundle_is_a_text_a_path_a_zip_or_opened(bundle: ld.Bundle, tmp_path: Path, kind: str) -> None:
    packed = pack(bundle.folder, tmp_path / "b.zip")
    named: Any = {
        "text": str(bundle.folder),
        "path": bundle.folder,
        "zip": packed,
        "zip text": str(packed),
        "opened": bundle,
    }[kind]
    if kind != "opened":
        assert ld.Bundle.open(named).sha256 == bundle.sha256
    with ld.Classifier(named, options=CPU) as clf:
        (answer,) = clf.predict(grey_pixels(SIZE))
    assert answer.probabilities is not None
    assert clf.artifact == "fp32"


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(64, np.uint8), r"An array of \[64\] holds no slices. Fix: one slice \[H, W\]"),
        (np.zeros((1, 1, 64, 64), np.uint8), "holds no slices"),
        (np.zeros((2, 0, 64), np.uint8), "holds no slices"),
        (np.zeros((64, 64, 3), np.uint8), r"\[64, 64, 3\] is a colour picture. Fix: Image.open\(path\).convert\('L'\)"),
        (np.zeros((64, 48, 4), np.float32), "is a colour picture"),
        (
            np.zeros((512, 512, 18), np.int16),
            r"\[512, 512, 18\]: the slices seem to lie along the last axis. Fix: np.moveaxis\(array, -1, 0\), then",
        ),
        (np.zeros((512, 512, 700), np.float32), "along the last axis"),
        (np.zeros((64, 48), np.uint8), "48×64 pixels are not square. Fix: pad"),
        (np.zeros((20, 20), np.int16), "20×20 pixels: too small for 64×64"),
        (np.zeros((64, 64), np.uint16), "uint16 holds neither windowed slices"),
        (np.zeros((64, 64), np.int8), "int8 holds neither"),
        (np.zeros((64, 64), bool), "bool holds neither"),
        (np.zeros((64, 64), complex), "complex128 holds neither"),
        (np.full((64, 64), "x"), "holds neither"),
    ],
)
def test_other_arrays_are_refused_in_a_line(bundle: ld.Bundle, array: Any, says: str) -> None:
    with ld.Classifier(bundle, options=CPU) as clf, pytest.raises(ld.ContractError, match=says) as caught:
        clf.predict(array)
    assert "\n" not in str(caught.value)


def test_hu_need_a_window(tmp_path: Path) -> None:
    blind = make_tiny_bundle(tmp_path / "b", size=SIZE, crop=56, window_hu=None)
    with ld.Classifier(blind, options=CPU) as clf:
        with pytest.raises(ld.ContractError, match=r"window in HU is not known.*Fix: window the slices yourself"):
            clf.predict(body())
        assert clf.predict(grey_pixels(SIZE))[0].window == "unverified"


def test_nan_and_infinite_hu_are_air_and_bone(bundle: ld.Bundle) -> None:
    hu = body().astype(np.float32)
    hu[0, 0], hu[1, 1] = np.nan, np.inf
    tame = body().astype(np.float32)
    tame[0, 0], tame[1, 1] = -1024, 1e6
    with ld.Classifier(bundle, options=CPU) as clf:
        assert clf.predict(hu) == clf.predict(tame)


def test_what_cannot_be_opened_is_reported_in_a_line(bundle: ld.Bundle, tmp_path: Path) -> None:
    with pytest.raises(ld.BundleError, match="There is no"):
        ld.Classifier(tmp_path / "nothing")
    with pytest.raises(ld.BundleError, match="`segment` needs a U-Net"):
        ld.Segmenter(bundle)
    with pytest.raises(ld.UserError, match="is not a device"):
        ld.Classifier(bundle, device="toaster")
    with pytest.raises(ld.BundleError, match="no class-activation map"):
        ld.Classifier(bundle, options=CPU, cam=True)
    with pytest.raises(ld.UserError, match="A ledger cannot lie in an object store"):
        ld.classify_folder(bundle, tmp_path, "s3://bucket/out")


def test_a_closed_one_says_so(bundle: ld.Bundle) -> None:
    clf = ld.Classifier(bundle, options=CPU)
    clf.close()
    clf.close()
    for call in (lambda: clf.predict(grey_pixels(SIZE)), lambda: clf.predict_series(bundle.folder), lambda: clf.info):
        with pytest.raises(ld.UserError, match=r"The network is closed\. Fix: a new Classifier"):
            call()


def test_another_thread_stops_a_run_which_then_goes_on(bundle: ld.Bundle, tmp_path: Path) -> None:
    scans, stop = folder_of_slices(tmp_path / "scans", 40, size=SIZE), ld.Stop()

    def on_progress(progress: ld.Progress) -> None:
        if progress.done and not stop.requested:
            thread = threading.Thread(target=stop.request)
            thread.start()
            thread.join()

    small = replace(CPU, batch_size=1)
    first = ld.classify_folder(bundle, scans, tmp_path / "out", options=small, on_progress=on_progress, stop=stop)
    assert first.stopped or not first.missing
    again = ld.classify_folder(bundle, scans, tmp_path / "out", options=small)
    assert (again.stopped, again.missing, again.slices) == (False, 0, 40)


def test_nothing_is_printed_and_nothing_left_behind(
    bundle: ld.Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, temporary = folder_of_slices(tmp_path / "scans", 4, size=SIZE), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (scans / "study-0" / "broken.png").write_bytes(b"x")
    before = {thread.name for thread in threading.enumerate()}
    with ld.Classifier(bundle, options=CPU) as clf:
        clf.predict(grey_pixels(SIZE))
        series = clf.predict_series(scans / "study-0")
    assert [one.status for one in series.slices].count("failed") == 1
    survey = ld.scan(scans, options=CPU)
    assert survey.files == 5
    assert json.dumps(survey.to_json())
    ld.classify_folder(bundle, [scans / "study-0", str(scans / "study-1")], tmp_path / "out", options=CPU)
    ld.read_results(tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    assert not list(temporary.iterdir())
    assert {thread.name for thread in threading.enumerate()} == before


@pytest.mark.parametrize("formats", [("csv",), ("jsonl",), ("parquet", "csv")])
def test_results_are_read_whatever_format_they_have(
    bundle: ld.Bundle, tmp_path: Path, formats: tuple[str, ...]
) -> None:
    scans = folder_of_slices(tmp_path / "scans", 5, size=SIZE)
    save(scans / "=1+1" / "-x-7.png", grey_pixels(SIZE, 9))  # a spreadsheet would run that
    (scans / "empty.png").write_bytes(b"")
    ld.classify_folder(bundle, scans, tmp_path / "out", options=replace(CPU, formats=formats), report=False)
    found = ld.read_results(tmp_path / "out")
    assert found.num_rows == 7
    rows = {row["path"]: row for row in found.to_pylist()}
    assert rows["empty.png"]["reason"] == "the file is empty"
    assert rows["empty.png"]["p0"] is None
    named = rows["=1+1/-x-7.png"]
    assert named["label"] in (0, 1, 2)
    assert abs(named["p0"] + named["p1"] + named["p2"] - 1) < 1e-5
    assert str(found.schema.field("p2").type) == "float"
    assert str(found.schema.field("index").type) == "int32"
    studies = ld.read_results(str(tmp_path / "out"), "studies")
    assert studies.column("rank").to_pylist()[:2] == [1, 2]
    assert studies.column_names[0] == "rank"


def test_results_that_are_not_there(tmp_path: Path, bundle: ld.Bundle) -> None:
    with pytest.raises(ld.OutputError, match=r"run\.json cannot be read"):
        ld.read_results(tmp_path)
    ld.classify_folder(bundle, folder_of_slices(tmp_path / "scans", 2, size=SIZE), tmp_path / "out", options=CPU)
    with pytest.raises(ld.OutputError, match=r"no table `masks`. Fix: it has report\.html, slices\.csv, studies\.csv"):
        ld.read_results(tmp_path / "out", "masks")
    with pytest.raises(ld.UserError, match=r"`slice` is no table. Fix: use slices, studies"):
        ld.read_results(tmp_path / "out", "slice")  # type: ignore[arg-type]
    (tmp_path / "out" / "slices.csv").write_text("path,index\na,b\n")
    with pytest.raises(ld.OutputError, match=r"slices\.csv is no table of lits-deploy"):
        ld.read_results(tmp_path / "out")


def test_without_pyarrow_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ld.MissingExtra, match=r"pyarrow is not installed\. Fix: pip install"):
        ld.read_results(tmp_path)


PROJECT = """
from __future__ import annotations

from pathlib import Path

import lits_deploy as ld
import numpy as np
import numpy.typing as npt


def night(bundle: str | Path, slices: npt.NDArray[np.int16], folder: Path) -> list[float | None]:
    opened: ld.Bundle = ld.Bundle.open(bundle)
    with ld.Classifier(opened, device="cpu", options=ld.ClassifyOptions(abstain=False), cam=True) as clf:
        answers: list[ld.SliceAnswer] = clf.predict(slices)
        series: ld.SeriesAnswer = clf.predict_series([folder / "a.dcm", "b.dcm"])
        reveal_type(clf)
    with ld.Segmenter("unet.zip") as unet:
        labels: npt.NDArray[np.uint8] | None = unet.predict(slices)[0].labels
        masks: ld.MaskSeries = unet.predict_series(folder / "a.zip")
        labels = masks.slices[0].labels
    stop = ld.Stop()
    stop.request()
    summary: ld.RunSummary = ld.classify_folder(bundle, folder, "out", report=False, stop=stop)
    survey: ld.Survey = ld.scan([folder])
    try:
        ld.read_results("out", "studies")
    except ld.OutputError as error:
        assert error.fix is not None
    return [one.lesion for one in (*answers, *series.slices)] + [float(summary.failed), len(survey.studies())]


def wrong() -> None:
    ld.Classifier(3)
    ld.read_results("out", "sliced")
    ld.classify_folder("bundle", "scans")
    ld.clasify_folder
"""


@pytest.mark.slow
def test_a_project_outside_sees_types(tmp_path: Path) -> None:
    (tmp_path / "night.py").write_text(PROJECT)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "night.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("night.py")]
    begun = 1 + PROJECT[: PROJECT.index("def wrong")].count("\n")
    assert [line for line in lines if ": error:" in line and int(line.split(":")[1]) < begun] == [], done.stdout
    assert any('Revealed type is "lits_deploy.api.classifier.Classifier"' in line for line in lines), done.stdout
    codes = [line.rpartition("[")[2] for line in lines if ": error:" in line]
    assert codes == ["arg-type]", "arg-type]", "call-arg]", "attr-defined]"], done.stdout
