"""After a run: suspicious slices are decoded again, looked at and kept; the page is drawn from the ledger."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fake_runtime import FakeRuntime
from folder_runs import SALT, SIZE, rows
from lits_deploy.bundle import Bundle
from lits_deploy.decode.decoding import Decoding
from lits_deploy.errors import BundleError, ContractError, DeviceOutOfMemory, OutputError
from lits_deploy.ledger import PICTURES, Ledger, PictureRow
from lits_deploy.pipeline.context import RunContext, RunHooks
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.report import picture_pass
from lits_deploy.report.after import reporter
from lits_deploy.report.picture_pass import Overlay, cam_overlay, check_segmenter, label_overlay
from lits_deploy.report.pictures import from_json
from lits_deploy.report.redraw import redraw
from lits_deploy.runtime import Outputs, RuntimeInfo
from lits_deploy.runtime.base import Batch, Runtime
from lits_deploy.scans.image import load_slice
from pictures import save
from tiny_bundle import make_tiny_bundle

INFO = RuntimeInfo(name="fake", version="0", device="cpu", precision="fp32", providers=("fake",))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56, cam=True)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two series, the brighter in their middle the more suspicious to the tiny network; and two that are no slices."""
    for series in "ab":
        for k in range(9):
            save(tmp_path / "scans" / f"{series}_{k}.png", body(60 + 18 * min(k, 8 - k) + 10 * (series == "b")))
    (tmp_path / "scans" / "b_9.png").write_bytes(b"")
    save(tmp_path / "scans" / "b_10.png", np.zeros((SIZE, SIZE), np.uint8))
    return tmp_path / "scans"


def body(grey: int) -> np.ndarray[Any, Any]:
    """A disc in air, of many greys around one, with a bright spot."""
    y, x = np.mgrid[:SIZE, :SIZE]
    picture = np.where((x - 32) ** 2 + (y - 32) ** 2 < 26**2, grey + 2.1 * x + 1.37 * y - 111, 0.0)
    picture = np.where((x - 24) ** 2 + (y - 24) ** 2 < 6**2, picture + 60, picture)
    return picture.clip(0, 255).astype(np.uint8)


def run(
    bundle: Bundle, scans: Path, out: Path, *, stop: Stop | None = None, **more: Any
) -> tuple[RunSummary, list[str]]:
    said: list[str] = []
    own = {name: more.pop(name) for name in ("segmenter",) if name in more}
    options = ClassifyOptions(**{"salt": SALT, "abstain": False, **more})
    finish = reporter(bundle, options, say=said.append, **own)
    hooks = RunHooks(finish=finish, stop=stop or Stop())
    return run_folder(bundle, [scans], out, options=options, hooks=hooks), said


def kept(out: Path) -> dict[str, PictureRow]:
    """Path → picture."""
    with Ledger(out) as ledger:
        paths = {row.file: row.path for row in ledger.rows()}
        return {paths[picture.file]: picture for picture in ledger.pictures()}


def note(out: Path) -> dict[str, Any]:
    with Ledger(out) as ledger:
        found: dict[str, Any] = json.loads(ledger.noted(PICTURES) or "{}")
        return found


def test_the_most_suspicious_slices_are_pictured_as_the_network_saw_them(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    summary, said = run(bundle, scans, tmp_path / "out")
    assert said == []
    assert summary.tables[-1] == tmp_path / "out" / "report.html"
    by_path = {row["path"]: row for row in rows(tmp_path / "out")}
    found = kept(tmp_path / "out")
    assert {"a_4.png", "b_4.png"} <= set(found)
    assert len([path for path in found if path[0] == "a"]) <= 6
    assert not {"b_9.png", "b_10.png"} & set(found), "failed and excluded slices have no picture"
    for path, picture in found.items():
        seen = load_slice(scans / path, bundle.manifest.contract)[0]
        shown = np.asarray(Image.open(io.BytesIO(picture.jpeg)))
        assert np.abs(shown.astype(int) - seen).mean() < 4
        if float(by_path[path]["p2"]) >= 0.1:
            (ring, *_) = from_json(picture.contours)["peak"]
            x, y = (np.mean(ring[axis::2]) / 2 for axis in (0, 1))
            assert 14 < x < 34, "the bright spot and the quarter that the tiny network weighs"
            assert 14 < y < 34
    assert note(tmp_path / "out") == {"kind": "cam", "network": "tiny fp32", "why": None}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<figure>") == len(found)
    assert str(tmp_path) not in page


def test_pictures_do_not_depend_on_workers_or_interruption(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    run(bundle, scans, tmp_path / "one", workers=1, batch_size=1)
    stop = Stop()
    stop.request()
    options = ClassifyOptions(salt=SALT, abstain=False)
    with pytest.raises(KeyboardInterrupt):
        run_folder(bundle, [scans], tmp_path / "two", options=options, hooks=RunHooks(stop=stop))
    run_folder(bundle, [scans], tmp_path / "two", options=options)  # without pictures
    assert kept(tmp_path / "two") == {}
    run(bundle, scans, tmp_path / "two", workers=2)
    pages = [(tmp_path / name / "report.html").read_text() for name in ("one", "two")]
    one, two = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", page) for page in pages)  # when the run was, by the minute
    assert one == two


def test_only_what_is_new_is_drawn_again(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(bundle, scans, out)
    before = kept(out)
    asked: list[str] = []
    real = Decoding.files
    monkeypatch.setattr(
        Decoding, "files", lambda self, jobs, **how: real(self, [asked.append(j.name) or j for j in jobs], **how)
    )
    run(bundle, scans, out)
    assert asked == []
    save(scans / "a_4.png", body(150))
    (scans / "b_4.png").unlink()
    run(bundle, scans, out)
    assert "a_4.png" in asked
    assert "b_3.png" not in asked
    after = kept(out)
    assert "b_4.png" not in after
    assert after["a_4.png"].jpeg != before["a_4.png"].jpeg
    assert after["b_3.png"] == before["b_3.png"]


def test_a_slice_that_vanished_meanwhile_has_no_picture(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ClassifyOptions(salt=SALT, abstain=False)
    draw = reporter(bundle, options)

    def finish(finished: RunContext) -> Any:
        (scans / "b_4.png").unlink()
        return draw(finished)

    run_folder(bundle, [scans], tmp_path / "out", options=options, hooks=RunHooks(finish=finish))
    found = kept(tmp_path / "out")
    assert "a_4.png" in found
    assert "b_4.png" not in found
    assert (tmp_path / "out" / "report.html").read_text().count("<figure>") == len(found)


def test_a_bundle_without_a_map_gives_pictures_and_the_reason(scans: Path, tmp_path: Path) -> None:
    plain = make_tiny_bundle(tmp_path / "plain", size=SIZE, crop=56)
    run(plain, scans, tmp_path / "out")
    assert all(from_json(picture.contours) == {} for picture in kept(tmp_path / "out").values())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Nothing is drawn over the pictures: the bundle has no class-activation map." in page


def test_the_fp32_file_draws_the_map_for_a_file_that_has_none(bundle: Bundle) -> None:
    (fp32,) = bundle.manifest.artifacts
    int8 = type(fp32)(**{**fp32.__dict__, "name": "int8-cpu", "precision": "int8", "outputs": ("logits",)})
    assert cam_overlay(bundle, fp32, INFO).network == "tiny fp32"
    overlay = cam_overlay(bundle, int8, INFO)
    assert (overlay.kind, overlay.network) == ("cam", "tiny fp32")
    assert overlay.open is not None
    with overlay.open() as network:
        out = network.infer(np.full((2, 1, SIZE, SIZE), 100, np.uint8))
        assert out.cam is not None
        assert out.cam.shape == (2, 8, 8)
        assert network.describe().device == "cpu"


class Segmenting(FakeRuntime):
    """Labels by brightness."""

    def _infer(self, batch: Batch) -> Outputs:
        if len(batch) > 1:
            raise DeviceOutOfMemory("one slice at a time")
        return Outputs(labels=((batch[:, 0] > 60).astype(np.uint8) + (batch[:, 0] > 200)))


def test_a_segmenter_outlines_liver_and_lesions(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=None)
    asked: dict[str, Any] = {}

    def opened(used: Bundle, **how: Any) -> Runtime:
        asked.update(how, bundle=used)
        return Segmenting(shape=(1, SIZE, SIZE), max_batch=4)

    monkeypatch.setattr(picture_pass, "open_runtime", opened)
    _, said = run(bundle, scans, tmp_path / "out", segmenter=unet)
    assert said == []
    assert (asked["bundle"], asked["wanted"]) == (unet, ("labels",))
    contours = from_json(kept(tmp_path / "out")["b_4.png"].contours)
    assert set(contours) == {"liver", "lesion"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"tiny {unet.sha256[:12]}" in page
    assert 'class="lesion" d="M' in page


def test_a_segmenter_that_sees_otherwise_is_refused_before_the_run(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not segment"):
        check_segmenter(bundle, bundle)
    other = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=None, window_hu=(-100.0, 400.0))
    with pytest.raises(ContractError, match="sees slices otherwise"):
        reporter(bundle, ClassifyOptions(), segmenter=other)
    assert label_overlay(other, ClassifyOptions()).kind == "labels"


def test_a_network_that_cannot_be_used_costs_the_contours_only(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = cam_overlay(bundle, bundle.artifact(), INFO)
    (folder := tmp_path / "copy").mkdir()
    for path in bundle.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    copy = Bundle.open(folder)

    def finish(finished: RunContext) -> Any:
        (folder / "model.onnx").write_bytes(b"altered")
        return draw(finished)

    said: list[str] = []
    options = ClassifyOptions(salt=SALT)
    draw = reporter(copy, options, say=said.append)
    run_folder(copy, [scans], tmp_path / "out", options=options, hooks=RunHooks(finish=finish))
    assert "was altered" in said[0]
    assert kept(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "could not be used (BundleError; the command said more)" in page
    assert str(tmp_path) not in page
    assert broken.note != Overlay(kind="none").note


def test_asked_to_stop_it_leaves_the_pictures_for_the_next_time(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    real = Decoding.files

    def interrupted(self: Decoding, jobs: Any, **how: Any) -> Any:
        stop.requested = True
        return real(self, jobs, **how)

    monkeypatch.setattr(Decoding, "files", interrupted)
    summary, said = run(bundle, scans, tmp_path / "out", stop=stop)
    assert said == ["Stopped before the report had its pictures: the same command draws them."]
    assert summary.missing == 0
    assert kept(tmp_path / "out") == {}
    assert (tmp_path / "out" / "report.html").exists()
    monkeypatch.setattr(Decoding, "files", real)
    run(bundle, scans, tmp_path / "out")
    assert kept(tmp_path / "out")


def test_a_report_is_drawn_again_without_scans_and_network(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(bundle, scans, out)
    whole = {path.name: path.read_bytes() for path in out.glob("*.*") if path.suffix in (".csv", ".html")}
    for path in scans.iterdir():
        path.unlink()
    for name in whole:
        (out / name).unlink()
    paths = redraw(out, formats=("csv", "jsonl"))
    assert [path.name for path in paths] == [
        "slices.csv",
        "studies.csv",
        "slices.jsonl",
        "studies.jsonl",
        "report.html",
    ]
    assert {name: (out / name).read_bytes() for name in whole} == whole
    (out / "slices.csv").unlink()
    assert {path.suffix for path in redraw(out)} == {".jsonl", ".html"}, "tables that are there are drawn anew"


def test_redrawing_nothing_or_what_is_in_use_is_an_error(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no ledger"):
        redraw(tmp_path)
    assert list(tmp_path.glob("*.sqlite")) == []
    with pytest.raises(OutputError, match="Another lits-deploy"):
        run_folder(
            bundle,
            [scans],
            tmp_path / "out",
            options=ClassifyOptions(salt=SALT),
            hooks=RunHooks(finish=lambda finished: redraw(finished.output.out)),
        )
    (tmp_path / "new").mkdir()
    Ledger(tmp_path / "new").close()
    with pytest.raises(OutputError, match="never began"):
        redraw(tmp_path / "new")


def test_a_segmented_run_has_a_page_too(scans: Path, tmp_path: Path) -> None:
    unet = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=None)
    options = ClassifyOptions(salt=SALT, batch_size=1)
    network = Segmenting(shape=(1, SIZE, SIZE))
    run_folder(unet, [scans], tmp_path / "out", task="segment", options=options, runtime=network)
    redraw(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "called lesion 0, liver 9, no liver 0; highest lesion probability –" in page
    assert 'class="liver" x="0" width="9"' in page, "the ribbon says it without probabilities"
    assert "<dt>Temperature" not in page
