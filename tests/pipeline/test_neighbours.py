"""Networks that see neighbouring slices: which pixels reach them, whatever is broken, stopped or changed meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import folder_runs
from fake_runtime import FakeRuntime
from folder_runs import SALT, SIZE, outcome, read_tricks_as, rows, tricks, workers_of
from lits_deploy.bundle import Bundle
from lits_deploy.errors import ContractError
from lits_deploy.ledger import Ledger
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions, Progress, RunSummary
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.report import picture_pass
from lits_deploy.report.after import reporter
from lits_deploy.report.picture_pass import check_segmenter
from lits_deploy.runtime import Outputs, Runtime
from lits_deploy.runtime.base import Batch
from lits_deploy.scans.image import load_slice
from lits_deploy.scans.neighbours import alone, stacked
from pictures import grey_pixels, save
from scan_files import WINDOW, body, ct, dicom_bytes, enhanced, nifti
from tiny_bundle import make_tiny_bundle

GREYS = ("picture",)
"""Pictures that `hostile_reader` makes: their names give their order, their content what happens."""


class Seeing(FakeRuntime):
    """Weighs channels differently, so that their order matters, and notes their mean values of every slice."""

    def __init__(self, channels: int = 3, **more: Any) -> None:
        super().__init__(shape=(channels, SIZE, SIZE), **more)
        self.seen: list[tuple[int, ...]] = []

    def _infer(self, batch: Batch) -> Outputs:
        means = batch.mean(axis=(2, 3), dtype=np.float64)
        self.seen += [tuple(round(float(mean)) for mean in row) for row in means]
        weights = np.arange(1, batch.shape[1] + 1) / batch.shape[1]
        mixed = np.broadcast_to((batch * weights[:, None, None]).mean(axis=1, keepdims=True), batch.shape)
        return super()._infer(mixed.astype(np.uint8))

    @property
    def neighbours(self) -> dict[int, tuple[int, ...]]:
        """Value of a slice → of its channels; each slice came once."""
        middle = self.shape[0] // 2
        assert len({row[middle] for row in self.seen}) == len(self.seen)
        return {row[middle]: row for row in self.seen}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56, channels=3, window_hu=WINDOW)


def classify(bundle: Bundle, scans: Path, out: Path, network: FakeRuntime | None = None, **more: Any) -> RunSummary:
    network, read = network or Seeing(bundle.manifest.contract.channels), more.pop("read", None)
    with read_tricks_as(*read) if read else nullcontext():
        return folder_runs.classify(bundle, scans, out, network=network, **more)


def greys(folder: Path, *values: int, start: int = 1, series: str = "s", **others: str) -> Path:
    """A series of pictures s_1, s_2 … of these grey values; others: name → trick."""
    return tricks(folder, **{f"{series}_{k}": f"grey {value}" for k, value in enumerate(values, start)} | others)


def test_pictures_have_their_neighbours_in_their_series(bundle: Bundle, tmp_path: Path) -> None:
    greys(tmp_path / "scans", *range(10, 22))  # s_10 comes before s_2 by name
    greys(tmp_path / "scans", 101, 102, series="t")
    greys(tmp_path / "scans/other", 201, start=3)
    (tmp_path / "scans/alone.test").write_text("grey 77")
    network = Seeing()
    classify(bundle, tmp_path / "scans", tmp_path / "out", network, read=GREYS)
    expected = {value: (max(value - 1, 10), value, min(value + 1, 21)) for value in range(10, 22)}
    expected |= {101: (101, 101, 102), 102: (101, 102, 102), 201: (201,) * 3, 77: (77,) * 3}
    assert network.neighbours == expected
    assert set(outcome(tmp_path / "out").values()) == {"ok"}


def test_real_pictures_reach_the_network_as_they_are(bundle: Bundle, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"scans/a_{k}.png", grey_pixels(SIZE, k)) for k in range(4)]
    classify(bundle, tmp_path / "scans", tmp_path / "out")
    slices = [load_slice(path, alone(bundle.manifest.contract)) for path in paths]
    network = Seeing()
    for k, row in enumerate(rows(tmp_path / "out")):
        outputs = network.infer(stacked([slices[max(k - 1, 0)], slices[k], slices[min(k + 1, 3)]])[np.newaxis])
        assert outputs.probabilities is not None
        assert [float(row[f"p{i}"]) for i in range(3)] == pytest.approx(outputs.probabilities[0].tolist(), abs=1e-6)
        assert len(row["sha256"]) == 64


def test_a_neighbour_that_cannot_be_used_is_replaced(tmp_path: Path) -> None:
    five = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56, channels=5)
    scans = greys(tmp_path / "scans", 1, 2, s_3="fail", s_4="wrong shape", s_5="grey 5", s_6="slices 2", s_7="grey 7")
    network = Seeing(5)
    classify(five, scans, tmp_path / "out", network, read=GREYS)
    assert network.neighbours == {1: (1, 1, 1, 2, 2), 2: (1, 1, 2, 2, 2), 5: (5, 5, 5, 5, 7), 7: (5, 7, 7, 7, 7)}
    assert {path: reason for path, reason in outcome(tmp_path / "out").items() if reason != "ok"} == {
        "s_3.test": "broken on purpose",
        "s_4.test": "the decoder failed (TypeError)",
        "s_6.test": "the file has changed since it was looked at",
    }


@pytest.mark.parametrize("trick", ["die", "hang", "swell"])
def test_a_neighbour_that_ends_its_decoder_costs_itself_alone(bundle: Bundle, tmp_path: Path, trick: str) -> None:
    scans = greys(tmp_path / "scans", *range(1, 9), s_4=trick)
    tables = set()
    for workers in (1, 2):
        network, out = Seeing(), tmp_path / f"out{workers}"
        limits: dict[str, Any] = {"time_limit_s": 0.6, "memory_limit_mib": 64}
        summary = classify(bundle, scans, out, network, read=GREYS, workers=workers, **limits)
        assert (summary.slices, summary.failed) == (7, 1)
        assert network.neighbours == {
            1: (1, 1, 2),
            2: (1, 2, 3),
            3: (2, 3, 3),
            5: (5, 5, 6),
            6: (5, 6, 7),
            7: (6, 7, 8),
            8: (7, 8, 8),
        }
        tables.add((out / "slices.csv").read_bytes())
    assert len(tables) == 1


def test_a_decoder_that_dies_once_over_a_neighbour_costs_no_channel(bundle: Bundle, tmp_path: Path) -> None:
    scans = greys(tmp_path / "scans", 1, 2, s_3=f"die once {tmp_path / 'marker'}")
    network = Seeing()
    summary = classify(bundle, scans, tmp_path / "out", network, read=GREYS, workers=1)
    assert (summary.slices, summary.failed) == (3, 0)
    assert network.neighbours == {1: (1, 1, 2), 2: (1, 2, 0), 0: (2, 0, 0)}


def volume(count: int = 5) -> list[np.ndarray[Any, Any]]:
    """Slices of different brightness, from feet to head."""
    return [np.where(body(k) > -500, body(k) + 12 * k, body(k)).astype(np.int16) for k in range(count)]


def test_one_volume_has_one_answer_whatever_files_it_lies_in(bundle: Bundle, tmp_path: Path) -> None:
    hu = volume()
    for folder in ("series", "nifti", "copy"):
        (tmp_path / "scans" / folder).mkdir(parents=True)
    for k, name in enumerate("dbeac"):
        data = ct(hu[k], ImagePositionPatient=[-160, -160, 30 + 5 * k], InstanceNumber=9 - k)
        (tmp_path / "scans/series" / name).write_bytes(data)
        (tmp_path / "scans/copy" / f"{name}.dcm").write_bytes(data)
    (tmp_path / "scans/nifti/v.nii").write_bytes(nifti(np.stack(hu)))
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 1, 2]):
        name = f"frames{order[0]}"
        (tmp_path / "scans" / name).mkdir()
        data = dicom_bytes(enhanced(hu[::-1], order=order, SeriesInstanceUID=f"1.2.{order[0]}"))
        (tmp_path / "scans" / name / "v.dcm").write_bytes(data)
    classify(bundle, tmp_path / "scans", tmp_path / "out")
    answers: dict[str, list[list[float]]] = {}
    for row in sorted(rows(tmp_path / "out"), key=lambda row: float(row["z_mm"])):
        answers.setdefault(row["path"].partition("/")[0], []).append([float(row[f"p{i}"]) for i in range(3)])
    assert answers["series"] == answers["nifti"] == answers["copy"]
    np.testing.assert_allclose(answers["frames0"], answers["series"], atol=0.01)  # stored with coarser slopes
    assert answers["frames3"] == answers["frames0"]
    np.testing.assert_allclose(answers["nifti"], list(volume_answers(bundle, hu)), atol=1e-5)


def volume_answers(bundle: Bundle, hu: list[np.ndarray[Any, Any]]) -> Iterator[list[float]]:
    """What the network should say of each slice."""
    from lits_deploy.scans.hounsfield import Rescale, finish

    slices = [finish(one, Rescale(), "", alone(bundle.manifest.contract))[0] for one in hu]
    for k, middle in enumerate(slices):
        stack = stacked([slices[k - 1] if k else None, middle, slices[k + 1] if k + 1 < len(slices) else None])
        probabilities = Seeing().infer(stack[np.newaxis]).probabilities
        assert probabilities is not None
        yield probabilities[0].tolist()


def mixed(folder: Path) -> Path:
    """Pictures of two series, a DICOM series under names in no order, volumes, and files that fail."""
    folder.mkdir()
    for k in range(12):
        save(folder / f"p{k % 2}_{k}.png", grey_pixels(SIZE, k))
    (folder / "p0_5.png").write_bytes(b"")
    hu = volume(9)
    for k in range(9):
        data = ct(hu[k], ImagePositionPatient=[-160, -160, 30 + 5 * k])
        (folder / f"IM{k * 5 % 9}").write_bytes(data[:-100] if k == 4 else data)
    (folder / "air.dcm").write_bytes(ct(np.full_like(hu[0], -1000), ImagePositionPatient=[-160, -160, 45]))
    (folder / "v.nii").write_bytes(nifti(np.stack(hu)))
    return folder


def test_tables_depend_neither_on_batches_nor_workers_nor_stops(bundle: Bundle, tmp_path: Path) -> None:
    scans = mixed(tmp_path / "scans")
    tables = set()
    for batch, workers in ((1, 1), (5, 2), (32, 3)):
        classify(bundle, scans, tmp_path / f"out{batch}", batch_size=batch, workers=workers)
        tables.add((tmp_path / f"out{batch}/slices.csv").read_bytes())
    starts = 0
    while starts < 20:
        starts, stop = starts + 1, Stop()
        network = Seeing(seconds_per_batch=0.12)
        show = partial(stop_after_a_volume, stop)
        summary = classify(
            bundle, scans, tmp_path / "out", network, batch_size=3, workers=1, stop=stop, on_progress=show
        )
        if not summary.stopped:
            break
    tables.add((tmp_path / "out/slices.csv").read_bytes())
    assert starts > 2
    assert len(tables) == 1
    assert classify(bundle, scans, tmp_path / "out").now == 0


def stop_after_a_volume(stop: Stop, progress: Progress) -> None:
    if progress.slices >= 9:
        stop.request()


def test_slices_are_done_again_when_their_neighbours_change(bundle: Bundle, tmp_path: Path) -> None:
    scans, out = greys(tmp_path / "scans", *range(10, 20)), tmp_path / "out"
    classify(bundle, scans, out, read=GREYS)

    def again(change: Callable[[], Any], expected: set[int], **more: Any) -> None:
        change()
        network = Seeing()
        classify(bundle, scans, out, network, read=GREYS, **more)
        assert set(network.neighbours) == expected
        classify(bundle, scans, tmp_path / "fresh", read=GREYS, overwrite=True)
        assert (out / "slices.csv").read_bytes() == (tmp_path / "fresh/slices.csv").read_bytes()

    again(lambda: greys(scans, 100, start=4), {12, 100, 14})
    again(lambda: greys(scans, 200, start=11), {19, 200})
    again(lambda: (scans / "s_1.test").unlink(), {11})
    again(lambda: greys(scans, s_7="fail"), {15, 17})
    again(lambda: None, set())
    again(lambda: None, {15, 17}, retry_failed=True)


def test_parts_of_a_folder_have_their_neighbours_there(bundle: Bundle, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    for name, first in (("one", 10), ("two", 20)):
        greys(inbox / name, first, first + 1)
    seen = []
    for only in ({"one"}, {"two"}):
        network = Seeing()
        classify(bundle, inbox, tmp_path / "out", network, read=GREYS, only=only)
        seen.append(network.neighbours)
    greys(inbox / "one", 12, start=3)
    network = Seeing()
    classify(bundle, inbox, tmp_path / "out", network, read=GREYS, only={"one"})
    assert seen == [{10: (10, 10, 11), 11: (10, 11, 11)}, {20: (20, 20, 21), 21: (20, 21, 21)}]
    assert network.neighbours == {11: (10, 11, 12), 12: (11, 12, 12)}
    assert len(rows(tmp_path / "out")) == 5


def test_asked_to_stop_while_headers_are_read_it_ends_at_once_and_leaves_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    scans, stop = greys(tmp_path / "scans", 1, s_2="hang"), Stop()
    timer = threading.Timer(1.5, stop.request)
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        classify(bundle, scans, tmp_path / "out", read=("dicom",), stop=stop)
    timer.join()
    assert time.monotonic() - started < 10
    assert not (tmp_path / "out").exists()
    assert not workers_of()


@pytest.mark.parametrize("workers", [1, 2])
def test_files_in_series_order_are_hardly_decoded_twice(
    bundle: Bundle, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECODED", str(tmp_path / "decoded"))
    scans = greys(tmp_path / "scans", *range(96))  # by name 1, 10, 11 …
    classify(bundle, scans, tmp_path / "out", read=("picture", "counting_reader"), workers=workers)
    decoded = len((tmp_path / "decoded").read_bytes().splitlines())
    assert 96 <= decoded <= (96 if workers == 1 else 96 * 1.3)


class Outlining(Seeing):
    """A U-Net."""

    def _infer(self, batch: Batch) -> Outputs:
        super()._infer(batch)
        return Outputs(labels=(batch[:, len(batch[0]) // 2] > 60).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_drawn_over_what_the_network_saw(
    bundle: Bundle, tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = greys(tmp_path / "scans", *range(200, 230, 3), volume="grey 235 then grey 240 then grey 245")
    unet = make_tiny_bundle(
        tmp_path / "unet", task="segment", size=SIZE, crop=None, channels=channels, window_hu=WINDOW
    )
    network, drawing = Seeing(), Outlining(channels)
    drawing.max_batch = 4

    def opened(used: Bundle, **how: Any) -> Runtime:
        return drawing

    monkeypatch.setattr(picture_pass, "open_runtime", opened)
    options = ClassifyOptions(salt=SALT, abstain=False)
    finish = reporter(bundle, options, segmenter=unet)
    with read_tricks_as(*GREYS):
        run_folder(bundle, [scans], tmp_path / "out", options=options, runtime=network, hooks=RunHooks(finish=finish))
    assert {227, 240} < set(drawing.neighbours), "of both kinds of files"
    half = channels // 2
    assert drawing.neighbours == {value: network.neighbours[value][1 - half : 2 + half] for value in drawing.neighbours}
    with Ledger(tmp_path / "out") as ledger:
        assert len(list(ledger.pictures())) == len(drawing.neighbours)


def test_a_segmenter_that_sees_more_than_the_classifier_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    unet = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=None, channels=5, window_hu=WINDOW)
    with pytest.raises(ContractError, match="channels 5 for 3"):
        check_segmenter(bundle, unet)


def test_masks_are_of_the_slice_in_the_middle(tmp_path: Path) -> None:
    unet = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=None, channels=3)
    scans = greys(tmp_path / "scans", 50, 70, 80)
    network = Outlining()
    options = ClassifyOptions(salt=SALT)
    with read_tricks_as(*GREYS):
        run_folder(unet, [scans], tmp_path / "out", task="segment", options=options, runtime=network)
    assert network.neighbours == {50: (50, 50, 70), 70: (50, 70, 80), 80: (70, 80, 80)}
    assert [row["label"] for row in rows(tmp_path / "out")] == ["0", "1", "1"]
