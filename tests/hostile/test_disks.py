"""Disks and folders that misbehave: each an error that names the fix or a row, and the run goes on afterwards."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_runtime import FakeRuntime
from folder_runs import SIZE, classify, outcome, rows
from hostile_corpus import dicom_file, hu_slice
from lits_deploy.bundle import Bundle
from lits_deploy.errors import OutputError
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.runtime.base import Batch, Outputs
from pictures import encoded, folder_of_slices, grey_pixels, save
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56, window_hu=(-160.0, 240.0))


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own at `folder`."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_that_says_so_and_the_same_command_goes_on(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 300)
    with mounted(tmp_path / "disk", "size=400k") as disk:
        hog = disk / "hog"
        hog.write_bytes(bytes(300 << 10))
        with pytest.raises(OutputError, match="make room"):
            classify(bundle, scans, disk / "out", batch_size=4)
        hog.unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        summary = classify(bundle, scans, disk / "out", batch_size=4)
        assert summary.slices == 300
        assert len(rows(disk / "out")) == 300


def test_an_output_folder_that_is_read_only_is_the_users_error(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 2)
    with mounted(tmp_path / "disk", "size=1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OutputError, match="--out elsewhere"):
            classify(bundle, scans, disk / "out")


def test_a_read_only_folder_of_scans_is_enough(bundle: Bundle, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        folder_of_slices(disk / "scans", 4)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert classify(bundle, disk / "scans", tmp_path / "out").slices == 4


def test_files_that_go_or_change_between_discovery_and_decoding(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 40)
    files = sorted(path for path in scans.rglob("*.*"))

    class Meddling(FakeRuntime):
        """Disturbs the last files when the first batch arrives: they are known by then, and not decoded yet."""

        done = False

        def _infer(self, batch: Batch) -> Outputs:
            if not self.done:
                self.done = True
                files[-1].unlink()
                files[-2].write_bytes(b"")
                save(files[-3].with_suffix(".png"), grey_pixels(SIZE, 99))
                files[-4].unlink()
                files[-4].mkdir()
            return super()._infer(batch)

    network = Meddling(shape=(1, SIZE, SIZE))
    classify(bundle, scans, tmp_path / "out", network=network, batch_size=1, workers=1)
    result = {scans / path: reason for path, reason in outcome(tmp_path / "out").items()}
    assert len(result) == 40
    assert result[files[-1]] == "the file cannot be read (no such file or directory)"
    assert result[files[-2]] == "the file is empty"
    assert result[files[-4]] in ("not a regular file", "the file cannot be read (is a directory)")
    assert all(result[path] == "ok" for path in files[:-4])


def test_a_zip_that_changes_after_it_was_listed_never_lends_its_bytes_to_another_name(
    bundle: Bundle, tmp_path: Path
) -> None:
    scans = folder_of_slices(tmp_path / "scans", 20)
    names = [f"{number:02d}.png" for number in range(20)]

    def write(order: list[str]) -> None:
        with zipfile.ZipFile(scans / "z.zip", "w") as archive:
            for number, name in enumerate(order):
                archive.writestr(name, encoded(grey_pixels(SIZE, number)))

    class Meddling(FakeRuntime):
        done = False

        def _infer(self, batch: Batch) -> Outputs:
            if not self.done:
                self.done = True
                write(names[::-1])
            return super()._infer(batch)

    write(names)
    classify(bundle, scans, tmp_path / "out", network=Meddling(shape=(1, SIZE, SIZE)), batch_size=1, workers=1)
    inside = {path: reason for path, reason in outcome(tmp_path / "out").items() if path.startswith("z.zip/")}
    assert len(inside) == 20
    assert set(inside.values()) == {"the zip has changed since it was listed"}


def test_odd_names_are_rows_that_lead_back_to_their_files(bundle: Bundle, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    names = [
        "new\nline.png",
        "tab\tand\rreturn.png",
        'quo"te,comma.png',
        "x" * 196 + ".png",
        "ünïcode-肝.png",
        "-rf.png",
    ]
    for number, name in enumerate(names):
        save(scans / name, grey_pixels(SIZE, number))
    (scans / os.fsdecode(b"not-utf8-\xff\xfe.png")).write_bytes((scans / names[0]).read_bytes())
    classify(bundle, scans, tmp_path / "out")
    paths = [row["path"] for row in rows(tmp_path / "out")]
    assert len(set(paths)) == 7
    assert all(path.isprintable() for path in paths)
    assert all(row["status"] == "ok" for row in rows(tmp_path / "out"))


def test_two_runs_with_ledgers_of_their_own_do_not_share_an_output_folder(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 2)
    with (
        OutputFolder(tmp_path / "out", ledger_folder=tmp_path / "a"),
        pytest.raises(OutputError, match="Another lits-deploy"),
    ):
        classify(bundle, scans, tmp_path / "out", ledger=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert classify(bundle, scans, tmp_path / "out", ledger=tmp_path / "b").slices == 2
    assert not (tmp_path / "out/.lits-deploy.lock").exists()


def test_links_in_circles_and_pipes_do_not_hang(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 4)
    (scans / "study-0/up").symlink_to(scans, target_is_directory=True)
    (scans / "self").symlink_to("self")
    (scans / "dangling.png").symlink_to("nowhere.png")
    os.mkfifo(scans / "pipe.png")
    os.mkfifo(scans / "pipe.dcm")
    summary = classify(bundle, scans, tmp_path / "out")
    assert summary.slices == 4
    assert outcome(tmp_path / "out")["pipe.png"] == "not a regular file"
    assert outcome(tmp_path / "out")["dangling.png"].startswith("the file cannot be read")


def test_tables_do_not_depend_on_the_order_of_arguments(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 20)
    for number in range(6):
        (scans / f"study-1/{number}.dcm").write_bytes(dicom_file(hu_slice(number), number=number))
    one, two = scans / "study-0", scans / "study-1"
    tables = set()
    for n, (roots, batch, workers) in enumerate([([one, two], 1, 1), ([two, one], 7, 3), ([two, one, one], 32, 2)]):
        out = tmp_path / f"out{n}"
        classify(bundle, list(roots), out, batch_size=batch, workers=workers)
        tables.add((out / "slices.csv").read_bytes() + (out / "studies.csv").read_bytes())
    assert len(tables) == 1


def test_a_folder_that_may_not_be_listed_is_a_row(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = folder_of_slices(tmp_path / "scans", 4)
    real = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("study-1"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    summary = classify(bundle, scans, tmp_path / "out")
    assert (summary.slices, summary.failed) == (2, 1)
    assert outcome(tmp_path / "out")["study-1/"] == "the folder cannot be listed (permission denied)"
