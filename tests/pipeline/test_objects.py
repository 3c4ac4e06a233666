"""Scans in an object store give the tables that the same files give in a folder, however slow or unsure it is."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from folder_runs import classify, outcome
from lits_deploy.bundle import Bundle
from lits_deploy.errors import StorageError
from lits_deploy.pipeline.options import RunSummary
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans import fetch
from lits_deploy.scans.objects import ObjectDiscovery
from lits_deploy.storage import failures
from pictures import encoded, grey_pixels
from s3_server import S3Server
from scan_files import WINDOW, body, ct
from sharded import mixed_scans
from tiny_bundle import make_tiny_bundle

SIZE = 64
PNG = encoded(grey_pixels(SIZE), "PNG")


@pytest.fixture(scope="module", params=[1, 3])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    return make_tiny_bundle(folder, size=SIZE, crop=56, channels=request.param, window_hu=WINDOW)


@pytest.fixture(scope="module")
def one_channel(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56, window_hu=WINDOW)


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", 0.01)
    fetch.is_there.cache_clear()
    return server.bucket(f"t-{os.urandom(6).hex()}")


def run(bundle: Bundle, url: str, out: Path, **more: Any) -> RunSummary:
    return classify(bundle, ObjectDiscovery([url]), out, **more)


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.csv"))}


def test_tables_are_those_of_the_same_files_in_a_folder(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path
) -> None:
    scans = mixed_scans(tmp_path / "scans")
    (scans / "elsewhere.dcm").unlink()  # a link, which a store has not
    for name in ("p12.png", "p12 (1).png", "p12 (2).png", "q7 (1).png"):
        (scans / "study-1" / name).write_bytes(PNG)
    server.put_folder(bucket, "in", scans)
    server.fault(share=0.1, status=500)
    server.fault(share=0.1, seconds=0.03)

    local = classify(bundle, scans, tmp_path / "local", batch_size=4)
    remote = run(bundle, f"s3://{bucket}/in", tmp_path / "remote", batch_size=4)

    assert tables(tmp_path / "remote") == tables(tmp_path / "local")
    assert remote.run_id == local.run_id
    assert remote.slices > 30
    assert remote.failed == local.failed == 2


def test_a_second_run_asks_for_nothing_that_is_done(
    server: S3Server, one_channel: Bundle, bucket: str, tmp_path: Path
) -> None:
    for number in range(5):
        server.put(bucket, f"in/{number}.png", PNG)
    url, out = f"s3://{bucket}/in", tmp_path / "out"
    run(one_channel, url, out)
    server.put(bucket, "in/1.png", PNG)
    server.put(bucket, "in/2.png", encoded(grey_pixels(SIZE, 2), "PNG"))
    server.delete(bucket, "in/3.png")
    server.put(bucket, "in/5.png", PNG)
    server.well()

    again = run(one_channel, url, out)

    assert (again.now, again.added, again.removed) == (2, 1, 1)
    read = {request for request in server.requests() if request.startswith("GET") and request.endswith(".png")}
    assert read == {f"GET /{bucket}/in/2.png", f"GET /{bucket}/in/5.png"}


def test_what_changes_after_it_was_listed_is_that_file_s_row(
    server: S3Server, one_channel: Bundle, bucket: str, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "gone.png"):
        server.put(bucket, f"in/{name}", PNG)

    class Late(ObjectDiscovery):
        def __iter__(self) -> Any:
            yield from super().__iter__()
            server.put(bucket, "in/b.png", encoded(grey_pixels(SIZE, 9), "PNG"))
            server.delete(bucket, "in/gone.png")

    classify(one_channel, Late([f"s3://{bucket}/in"]), tmp_path / "out")
    assert outcome(tmp_path / "out") == {
        "a.png": "ok",
        "b.png": "the file has changed since it was listed",
        "gone.png": "the file cannot be read (no such file or directory)",
    }
    done = run(one_channel, f"s3://{bucket}/in", tmp_path / "out")
    assert (done.now, done.removed, done.failed) == (1, 1, 0)


def test_an_object_that_fails_for_good_is_its_row(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path
) -> None:
    for number in range(6):
        server.put(bucket, f"in/s_{number}.png", encoded(grey_pixels(SIZE, number), "PNG"))
        server.put(bucket, f"in/d/{number}", ct(InstanceNumber=number, SOPInstanceUID=f"2.25.{number}"))
    server.fault(match="GET .*/in/s_3.png", status=503)
    server.fault(match="GET .*/in/d/2", status=403, code="AccessDenied", times=None)

    class Listed(ObjectDiscovery):
        def __iter__(self) -> Any:
            server.well()
            yield from super().__iter__()
            server.fault(match="GET .*/in/s_3.png", status=503)
            server.fault(match="HEAD .*/in/d/2", status=403)

    classify(bundle, Listed([f"s3://{bucket}/in"]), tmp_path / "out")
    found = outcome(tmp_path / "out")
    assert found.pop("s_3.png").startswith("the file cannot be read (the store failed (")
    assert found.pop("d/2") == "the file cannot be read (access denied)"
    assert set(found.values()) == {"ok"}
    assert len(found) == 10


def test_a_request_to_stop_waits_for_no_answer(
    server: S3Server, one_channel: Bundle, bucket: str, tmp_path: Path
) -> None:
    for number in range(150):
        server.put(bucket, f"in/{number}.png", PNG)
    stop = Stop()
    listing = ObjectDiscovery([f"s3://{bucket}/in"])
    server.fault(match="GET .*png", seconds=0.2)

    def soon(progress: Any) -> None:
        if progress.done >= 20:
            stop.request()

    stopped = classify(one_channel, listing, tmp_path / "out", stop=stop, on_progress=soon)
    assert stopped.stopped
    assert 20 <= stopped.now < 150
    server.well()
    done = run(one_channel, f"s3://{bucket}/in", tmp_path / "out")
    assert (done.slices, done.now) == (150, 150 - stopped.now)


def test_memory_that_holds_objects_is_bounded(
    server: S3Server, one_channel: Bundle, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lits_deploy.decode import spool

    most = 0
    reserve = spool.Spool._reserve

    def watched(self: spool.Spool, one: Any, size: int) -> None:
        nonlocal most
        reserve(self, one, size)
        most = max(most, self._bytes)

    data = encoded(grey_pixels(SIZE), "PNG")
    monkeypatch.setattr(spool.Spool, "_reserve", watched)
    monkeypatch.setattr(spool, "BYTES", 10 * len(data))
    for number in range(60):
        server.put(bucket, f"in/{number}.png", data)
    server.put(bucket, "in/large.png", data + bytes(20 * len(data)))

    assert run(one_channel, f"s3://{bucket}/in", tmp_path / "out").files == 61
    assert most <= 21 * len(data)


def test_more_than_a_reader_takes_is_not_fetched(
    server: S3Server, one_channel: Bundle, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lits_deploy.decode import spool

    monkeypatch.setattr(spool, "MOST", 100_000)
    server.put(bucket, "in/large.png", PNG + bytes(300_000_000))
    server.put(bucket, "in/small.png", PNG)
    server.well()
    run(one_channel, f"s3://{bucket}/in", tmp_path / "out")
    assert outcome(tmp_path / "out") == {"large.png": "286 MiB: larger than any slice", "small.png": "ok"}
    assert server.requests()[f"GET /{bucket}/in/large.png"] == 0


def test_the_store_s_endpoint_must_be_there_when_it_begins(tmp_path: Path, one_channel: Bundle) -> None:
    os.environ.pop("AWS_ENDPOINT_URL", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(StorageError, match="cannot be reached"):
            run(one_channel, "s3://scans/in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_thousand_jpeg_and_three_hundred_dicom_slices_and_a_zip(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path
) -> None:
    """One request in ten fails, one in ten is slow: not a byte is another."""
    scans = tmp_path / "scans"
    for number in range(2000):
        path = scans / f"patient-{number // 250}" / f"volume-{number // 50:03d}_{number % 50:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(grey_pixels(SIZE, number), "JPEG"))
    dicom = {f"series-{n // 60}/IM{n % 60:04d}": phantom(n // 60, n % 60) for n in range(400)}
    for name, data in list(dicom.items())[:300]:
        path = scans / "dicom" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with zipfile.ZipFile(scans / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in list(dicom.items())[300:]:
            archive.writestr(name, data)
    server.put_folder(bucket, "in", scans)
    server.fault(share=0.1, status=500)
    server.fault(share=0.1, seconds=0.1)

    local = classify(bundle, scans, tmp_path / "local")
    remote = run(bundle, f"s3://{bucket}/in", tmp_path / "remote")

    assert tables(tmp_path / "remote") == tables(tmp_path / "local")
    assert (remote.run_id, remote.slices, remote.failed) == (local.run_id, 2400, 0)


def phantom(series: int, number: int) -> bytes:
    """A DICOM slice of a series, at its position."""
    return ct(
        body(number % 40 + series),
        StudyInstanceUID=f"2.25.{series + 1}",
        SeriesInstanceUID=f"2.25.{series + 1}.1",
        SOPInstanceUID=f"2.25.{series + 1}.1.{number + 1}",
        InstanceNumber=number,
        ImagePositionPatient=[-160, -160, 5 * number],
    )
