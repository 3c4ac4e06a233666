"""Commands whose scans, bundle, plan or results lie in an object store; real processes, real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.packing import pack
from pictures import encoded, folder_of_slices, grey_pixels
from s3_server import ENVIRONMENT, S3Server
from scan_files import WINDOW
from sharded import mixed_scans, page
from tiny_bundle import make_tiny_bundle

SIZE = 64
SECRET = ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]
TABLES = ("slices.csv", "studies.csv")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=SIZE, crop=56, window_hu=WINDOW)


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return server.bucket(f"t-{os.urandom(6).hex()}")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = mixed_scans(tmp_path / "scans")
    (folder / "elsewhere.dcm").unlink()  # a link, which a store has not
    return folder


@pytest.fixture
def salt(tmp_path: Path) -> Path:
    path = tmp_path / "salt"
    path.write_text("the same for all of these")
    path.chmod(0o600)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "lits_deploy", *map(str, arguments)]


def run(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout + done.stderr


def line(*arguments: object) -> str:
    """The one line of a command that cannot work."""
    said = run(*arguments, code=2)
    assert said.count("\n") == 1, said
    return said


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def test_classify_gives_the_tables_of_one_machine(
    server: S3Server, bundle: Bundle, bucket: str, scans: Path, salt: Path, tmp_path: Path
) -> None:
    server.put_folder(bucket, "in", scans)
    server.put_folder(bucket, "tiny", bundle.folder)
    server.fault(share=0.05, status=500)
    how = ("--salt-file", salt, "--batch-size", 4)
    run("classify", bundle.folder, scans, "--out", tmp_path / "local", *how, code=1)
    there, away = f"s3://{bucket}", ("--endpoint", server.endpoint)

    said = run("classify", f"{there}/tiny", f"{there}/in/", "--out", tmp_path / "out", *how, *away, code=1)
    assert tables(tmp_path / "out") == tables(tmp_path / "local")
    assert "56 slices in" in said

    said = run(
        *("classify", f"{there}/tiny", f"{there}/in", "--out", f"{there}/out", "--ledger", tmp_path / "ledger"),
        *(*how, *away),
        code=1,
    )
    assert f"→ {there}/out (4 files uploaded, 0 there already)" in said
    uploaded = {name: server.get(bucket, f"out/{name}") for name in TABLES}
    assert uploaded == tables(tmp_path / "local")
    assert sorted(key for key in server.keys(bucket) if key.startswith("out/") and key != "out/") == [
        "out/report.html",
        "out/run.json",
        *(f"out/{name}" for name in TABLES),
    ]


def test_devices_read_a_store_and_what_they_make_goes_there(
    server: S3Server, bundle: Bundle, bucket: str, scans: Path, salt: Path, tmp_path: Path
) -> None:
    server.put_folder(bucket, "in", scans)
    server.put_folder(bucket, "tiny", bundle.folder)
    how = ("--salt-file", salt, "--batch-size", 4)
    run("classify", bundle.folder, scans, "--out", tmp_path / "local", *how, code=1)
    there = f"s3://{bucket}"
    spread = (
        "--devices",
        "cpu:2",
        "--shard-slices",
        20,
        "--ledger",
        tmp_path / "ledger",
        "--endpoint",
        server.endpoint,
    )
    said = run("classify", f"{there}/tiny", f"{there}/in", "--out", f"{there}/out", *how, *spread, code=1)
    assert "on 2 workers" in said
    assert {name: server.get(bucket, f"out/{name}") for name in TABLES} == tables(tmp_path / "local")


def test_plan_shards_and_merge_share_nothing_but_the_store(
    server: S3Server, bundle: Bundle, bucket: str, scans: Path, salt: Path, tmp_path: Path
) -> None:
    server.put_folder(bucket, "in", scans)
    pack(bundle.folder, tmp_path / "tiny.zip")
    server.put(bucket, "tiny.zip", (tmp_path / "tiny.zip").read_bytes())
    run("classify", bundle.folder, scans, "--out", tmp_path / "local", "--salt-file", salt, code=1)
    there, how = f"s3://{bucket}", ("--salt-file", salt, "--endpoint", server.endpoint)
    server.fault(share=0.05, status=500)

    said = run("plan", f"{there}/tiny.zip", f"{there}/in", "--out", f"{there}/job", "--shard-slices", 20, *how)
    shards = int(re.search(r"in (\d+) shards", said)[1])  # type: ignore[index]
    assert shards > 2
    for number in range(shards):
        work = "--ledger", tmp_path / f"node-{number}"
        said = run("classify", f"{there}/tiny.zip", "--job", f"{there}/job", "--shard", number, *work, *how)
        assert f"shard {number} is done" in said
    assert "done before" in run("classify", f"{there}/tiny.zip", "--job", f"{there}/job", "--shard", 0, *how)
    out = "--out", f"{there}/out", "--ledger", tmp_path / "ledger"
    run("merge", f"{there}/job", *out, *how, code=1)

    assert {name: server.get(bucket, f"out/{name}") for name in TABLES} == tables(tmp_path / "local")
    server.put(bucket, "in/study-0/new.png", encoded(grey_pixels(SIZE, 77), "PNG"))
    said = run("plan", f"{there}/tiny.zip", f"{there}/in", "--out", f"{there}/job", *how)
    assert "1 files are new, 0 changed and 0 gone" in said


def test_files_that_change_after_the_plan_are_one_line(
    server: S3Server, bundle: Bundle, bucket: str, salt: Path
) -> None:
    for number in range(3):
        server.put(bucket, f"in/{number}.png", encoded(grey_pixels(SIZE, number), "PNG"))
    there, how = f"s3://{bucket}", ("--salt-file", salt, "--endpoint", server.endpoint)
    run("plan", bundle.folder, f"{there}/in", "--out", f"{there}/job", *how)
    server.put(bucket, "in/1.png", encoded(grey_pixels(SIZE, 9), "PNG"))
    said = line("classify", bundle.folder, "--job", f"{there}/job", "--shard", 0, *how)
    assert "1 of 3 files of shard 0 have changed or gone since they were planned" in said


@pytest.mark.slow
def test_pictures_of_a_later_report_come_from_the_store(
    server: S3Server, bundle: Bundle, bucket: str, scans: Path, salt: Path, tmp_path: Path
) -> None:
    server.put_folder(bucket, "in", scans)
    run("classify", bundle.folder, scans, "--out", tmp_path / "local", "--salt-file", salt, code=1)
    there = f"s3://{bucket}/in", "--endpoint", server.endpoint, "--salt-file", salt
    run("classify", bundle.folder, *there, "--out", tmp_path / "out", "--no-report", code=1)
    server.well()
    run("classify", bundle.folder, *there, "--out", tmp_path / "out", code=1)
    assert page(tmp_path / "out") == page(tmp_path / "local")
    assert any(request.startswith("GET") and ".png" in request for request in server.requests())


@pytest.mark.slow
def test_several_processes_read_from_a_store(
    server: S3Server, bundle: Bundle, bucket: str, scans: Path, salt: Path, tmp_path: Path
) -> None:
    server.put_folder(bucket, "in", scans)
    run("classify", bundle.folder, scans, "--out", tmp_path / "local", "--salt-file", salt, code=1)
    there = f"s3://{bucket}/in", "--endpoint", server.endpoint, "--salt-file", salt
    spread = "--devices", "cpu:2", "--shard-slices", 20
    run("classify", bundle.folder, *there, "--out", tmp_path / "out", *spread, code=1)
    assert tables(tmp_path / "out") == tables(tmp_path / "local")


def test_what_lies_in_a_bucket_is_scanned(server: S3Server, bucket: str, scans: Path) -> None:
    server.put_folder(bucket, "in", scans)
    local = run("scan", scans, code=1)
    assert run("scan", f"s3://{bucket}/in", "--endpoint", server.endpoint, code=1) == local


def test_a_bundle_is_fetched_once_and_checked(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    server.put_folder(bucket, "tiny", bundle.folder)
    pack(bundle.folder, tmp_path / "tiny.zip")
    server.put(bucket, "tiny.zip", (tmp_path / "tiny.zip").read_bytes())
    for name in ("tiny", "tiny.zip"):
        server.well()
        assert "verified" in run("verify", f"s3://{bucket}/{name}")
        first = server.requests()
        server.well()
        assert bundle.sha256[:12] in run("bundle", "inspect", f"s3://{bucket}/{name}")
        assert server.requests().total() < first.total()
        assert not any(request.endswith("model.onnx") for request in server.requests())

    server.put(bucket, "bad/manifest.json", server.get(bucket, "tiny/manifest.json"))
    server.put(bucket, "bad/manifest.sha256", server.get(bucket, "tiny/manifest.sha256"))
    (tmp_path / "cache" / "lits-deploy" / "bundles" / bundle.sha256).rename(tmp_path / "away")
    assert "is missing from s3://" in line("verify", f"s3://{bucket}/bad")
    for name in ("model.onnx", "golden.npz", "README.md"):
        server.put(bucket, f"bad/{name}", server.get(bucket, f"tiny/{name}")[:-1] + b"!")
    assert "is no whole bundle: README.md was altered" in line("verify", f"s3://{bucket}/bad")
    assert "is not a bundle (it has no manifest.json)" in line("verify", f"s3://{bucket}")
    assert "There is no s3://" in line("verify", f"s3://{bucket}/nothing")
    left = sorted(path.name for path in (tmp_path / "cache" / "lits-deploy" / "bundles").iterdir())
    assert len(left) == 1  # the packed one


def test_results_in_a_store_need_a_ledger_here_and_are_of_one_run(
    server: S3Server, bundle: Bundle, bucket: str, salt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    scans = folder_of_slices(tmp_path / "scans", 6, size=SIZE)
    there = f"s3://{bucket}/out"
    assert "A ledger cannot lie in an object store" in line("classify", bundle.folder, scans, "--out", there)

    def classify(ledger: str, *more: object, code: int = 0) -> str:
        ledger_of = "--ledger", tmp_path / ledger
        return run("classify", bundle.folder, scans, "--out", there, *ledger_of, "--salt-file", salt, *more, code=code)

    classify("one")
    server.well()
    said = classify("one")
    assert "(1 file uploaded, 3 there already)" in said  # run.json, which says when
    puts = [request for request in server.requests() if request.startswith("PUT")]
    assert {request.rpartition("/")[2] for request in puts} == {
        "run.json",
        ".lits-deploy.probe",
        "",
    }  # "": pyarrow marks the folder of what it deletes
    assert "holds results that were not made with this --ledger folder" in classify("two", code=2)
    classify("two", "--overwrite", "--no-report")
    classify("two", "--format", "csv,jsonl")
    assert "out/slices.jsonl" in server.keys(bucket)


def test_results_that_cannot_be_uploaded_are_uploaded_by_the_same_command(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    scans = folder_of_slices(tmp_path / "scans", 6, size=SIZE)
    how = "classify", bundle.folder, scans, "--out", f"s3://{bucket}/out", "--ledger", tmp_path / "ledger"
    run(*how)
    server.fault(match="(POST|PUT) .*/out/(slices.csv|run.json).*", status=403, code="AccessDenied")
    (scans / "new.png").write_bytes(encoded(grey_pixels(SIZE, 99), "PNG"))
    said = run(*how, "--json", code=2)
    assert said.startswith("error: ")  # and no document
    assert "The results are on this machine, but s3://" in said
    assert "access denied" in said
    assert "the same command then uploads them" in said
    assert "out/run.json" not in server.keys(bucket)  # what is there is no whole run's
    server.well()
    done = subprocess.run(command(*how, "--json"), capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["run"]["counts"]["slices_now"] == 0
    assert {f"s3://{bucket}/out/{name}" for name in ("slices.csv", "run.json")} <= set(document["files"])
    assert "uploaded" in done.stderr
    assert server.get(bucket, "out/slices.csv") == (tmp_path / "ledger" / "results" / "slices.csv").read_bytes()


def test_no_rights_to_write_are_known_before_any_work(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path
) -> None:
    scans = folder_of_slices(tmp_path / "scans", 6, size=SIZE)
    server.fault(match="(POST|PUT) .*", status=403, code="AccessDenied")
    how = "--out", f"s3://{bucket}/out", "--ledger", tmp_path / "ledger", "--endpoint", server.endpoint
    said = line("classify", bundle.folder, scans, *how)
    assert "cannot be written: access denied" in said
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("scans", "text"),
    [
        ("s3://nobody-made-it/x", "There is no bucket s3://nobody-made-it"),
        ("s3://{bucket}/nothing", "There is no s3://"),
        ("gs://bucket/x", "`gs://` is not read"),
        ("s3://key:secret@bucket/x", "holds no credentials"),
    ],
)
def test_locations_that_cannot_be_read_are_one_line(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path, scans: str, text: str
) -> None:
    out = "--out", tmp_path / "out"
    assert text in line("classify", bundle.folder, scans.format(bucket=bucket), *out, "--endpoint", server.endpoint)
    assert not (tmp_path / "out").exists()


def test_a_store_that_is_not_there_or_refuses_is_one_line(
    server: S3Server, bundle: Bundle, bucket: str, tmp_path: Path
) -> None:
    out = "--out", tmp_path / "out"
    nobody = "--endpoint", "http://127.0.0.1:9"
    assert "cannot be reached" in line("classify", bundle.folder, f"s3://{bucket}/in", *out, *nobody)
    server.put(bucket, "in/a.png", b"x")
    server.fault(match="(HEAD|GET) .*", status=403, code="AccessDenied")
    said = line("classify", bundle.folder, f"s3://{bucket}/in", *out, "--endpoint", server.endpoint)
    assert "cannot be read: access denied. Fix: credentials with rights on it (AWS_PROFILE" in said
    mixed = line("classify", bundle.folder, f"s3://{bucket}/in", tmp_path, *out, "--endpoint", server.endpoint)
    assert "in folders or in an object store, not in both" in mixed


def test_file_urls_are_paths(bundle: Bundle, tmp_path: Path) -> None:
    folder_of_slices(tmp_path / "my scans", 6, size=SIZE)
    url = f"file://{tmp_path}"
    run("classify", f"file://{bundle.folder}", f"{url}/my%20scans", "--out", f"{url}/out")
    assert (tmp_path / "out" / "slices.csv").exists()


def test_credentials_and_patients_are_in_no_file_that_is_left(
    server: S3Server, bundle: Bundle, bucket: str, salt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C while objects are fetched, killed, and gone on with."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    for number in range(120):
        server.put(bucket, f"in/{number}.png", encoded(grey_pixels(SIZE, number), "PNG"))
    how = command(
        *("classify", bundle.folder, f"s3://{bucket}/in", "--out", tmp_path / "out", "--salt-file", salt),
        *("--endpoint", server.endpoint),
    )
    server.fault(match="GET .*png", seconds=0.4)
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        before = server.requests().total()
        process = subprocess.Popen(how, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while not sum(n for request, n in server.requests().items() if request.startswith("GET") and "png" in request):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        assert server.requests().total() > before
        time.sleep(1.0)
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == code, said
        assert "Traceback" not in said
        server.well()
        server.fault(match="GET .*png", seconds=0.4)
    server.well()
    assert list(scratch.iterdir()) == []
    done = subprocess.run(how, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
