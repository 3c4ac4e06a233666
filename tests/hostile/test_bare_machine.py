"""Commands of the edge where there is nothing but a place for OUT: no user name, no home, no /dev/shm, no /tmp.

The user number has no line in the list of users, HOME is not set, and every file system but OUT's is read-only: as in a
locked-down container. Made with a user and a mount namespace of its own, which needs no privilege.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lits_deploy.errors import EngineError
from lits_deploy.pipeline import autotune
from lits_deploy.trt.cache import ENVIRONMENT, default_folder
from lits_deploy.user_cache import user_cache
from tiny_bundle import make_tiny_bundle
from tiny_unet import make_tiny_unet
from worlds import SIZE, Series

BARE = """
set -e
mount --bind "$1" "$1"
mount -t tmpfs -o ro,size=4k none /dev/shm
mount -o remount,bind,ro /
for point in /tmp /var/tmp /run /home /root; do
  if mountpoint -q "$point"; then mount -o remount,bind,ro "$point"; fi
done
cd "$1"
shift
exec env -i PATH=/usr/bin:/bin "$@"
"""
NAMESPACES = ("unshare", "--user", "--map-user=12345", "--map-group=12345", "--mount", "--keep-caps")
LONG = 60.0  # seconds until a test gives up

PROBE = """
import pathlib, tempfile
try:
    pathlib.Path.home()
except RuntimeError:
    try:
        open("/dev/shm/x", "w")
    except OSError:
        pathlib.Path("written").write_text("here")
        print("bare")
"""


def bare(folder: Path, *arguments: str) -> list[str]:
    return [*NAMESPACES, "sh", "-c", BARE, "sh", str(folder), sys.executable, *arguments]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bundle, unet and scans: the only one that can be written to."""
    folder = tmp_path_factory.mktemp("world")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    tried = subprocess.run(bare(folder, "-c", PROBE), capture_output=True, text=True)
    if tried.stdout != "bare\n":
        pytest.skip(f"needs user namespaces: {tried.stderr.strip()[-100:]}")
    make_tiny_bundle(folder / "bundle")
    make_tiny_unet(folder / "unet", size=SIZE)
    Series(name="ct", count=2, step=2.0).write(folder / "scans")
    return folder


def run(world: Path, command: str) -> str:
    done = subprocess.run(bare(world, "-m", "lits_deploy", *command.split()), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def rows(out: Path) -> int:
    table = out / "slices.csv"
    return table.read_text().count("\n") - 1 if table.exists() else 0


def test_a_night_of_commands(world: Path) -> None:
    assert "verified" in run(world, "verify bundle")
    assert "2 slices" in run(world, "scan scans")
    run(world, "classify bundle scans --out out")
    assert rows(world / "out") == 2
    (world / "out" / "report.html").unlink()
    run(world, "report out")
    assert (world / "out" / "report.html").is_file()
    run(world, "segment unet scans --out masks --masks png")
    assert len(list((world / "masks" / "masks").rglob("*.png"))) == 2


def test_watch(world: Path) -> None:
    inbox, out = world / "inbox", world / "watched"
    shutil.copytree(world / "scans", inbox / "study")
    arguments = ["-m", "lits_deploy", "watch", "bundle", "inbox", "--out", "watched", "--complete-after", "0"]
    process = subprocess.Popen(bare(world, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + LONG
        while rows(out) < 2 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=LONG)
    assert rows(out) == 2, said
    assert "Traceback" not in said


def test_doctor_names_what_is_missing(world: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run(world, "doctor --json"))["checks"]}
    assert rows["cache"]["state"] == "warning"
    assert "no home folder" in rows["cache"]["found"]
    assert rows["cache"]["fix"] == "export XDG_CACHE_HOME=FOLDER that can be written"
    # Python would take the current folder, which can be written; doctor's children start in /
    assert rows["temporary files"]["state"] == "warning"
    assert "TMPDIR" in rows["temporary files"]["fix"]
    assert [name for name, row in rows.items() if row["state"] == "broken"] == []


class TestCaches:
    @pytest.fixture
    def nobody(self, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        """No HOME, and a user number that has no name."""
        pwd = pytest.importorskip("pwd")

        def unknown(uid: int) -> None:
            raise KeyError(f"getpwuid(): uid not found: {uid}")

        monkeypatch.setattr(pwd, "getpwuid", unknown)
        for name in ("HOME", "XDG_CACHE_HOME", ENVIRONMENT):
            monkeypatch.delenv(name, raising=False)
        return monkeypatch

    def test_a_user_without_home_has_none(self, nobody: pytest.MonkeyPatch) -> None:
        assert user_cache() is None
        key, setting = {"bundle": "b"}, autotune.Setting(batch=8, threads=1, slices_per_s=1.0)
        assert autotune.remembered(key) is None
        assert not autotune.remember(key, setting, [setting])
        with pytest.raises(EngineError, match=r"no home folder.* Fix: --engine-cache FOLDER"):
            default_folder()
        nobody.setenv(ENVIRONMENT, "/engines")
        assert default_folder() == Path("/engines")

    def test_only_absolute_paths_count(self, nobody: pytest.MonkeyPatch) -> None:
        nobody.setenv("HOME", "relative")
        nobody.setenv("XDG_CACHE_HOME", "relative")
        assert user_cache() is None
        nobody.setenv("HOME", "/users/me")
        assert user_cache() == Path("/users/me/.cache/lits-deploy")
        nobody.setenv("XDG_CACHE_HOME", "/caches")
        assert user_cache() == Path("/caches/lits-deploy")
        assert default_folder() == Path("/caches/lits-deploy/engines")

    def test_a_cache_that_cannot_be_made_or_read_stops_nothing(
        self, nobody: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        nobody.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        key, setting = {"bundle": "b"}, autotune.Setting(batch=8, threads=1, slices_per_s=1.0)
        assert not autotune.remember(key, setting, [setting])
        assert autotune.remembered(key) is None
