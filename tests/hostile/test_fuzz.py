"""Broken files by the hundred: each a row with a reason, no process that swells, nothing outside the output folder."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import psutil
import pytest

from folder_runs import SIZE, classify, rows
from hostile_corpus import PLANTED, broken_files, originals
from lits_deploy.bundle import Bundle
from tiny_bundle import make_tiny_bundle

MOST_BYTES = 1500 << 20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56, window_hu=(-160.0, 240.0))


def test_the_originals_are_whole(bundle: Bundle, tmp_path: Path) -> None:
    for name, data in originals().items():
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / name).write_bytes(data)
    summary = classify(bundle, tmp_path / "scans", tmp_path / "out")
    assert {row["path"]: row["reason"] for row in rows(tmp_path / "out") if row["status"] == "failed"} == {}
    assert summary.slices + summary.excluded + summary.copies == 7 + 4 + 4 + (1 + 1 + 4)


@pytest.mark.parametrize(
    ("count", "seed"), [(500, 1), pytest.param(20_000, 2, marks=pytest.mark.slow)], ids=["500", "20000"]
)
def test_broken_files_are_rows(
    bundle: Bundle, tmp_path: Path, count: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, elsewhere = tmp_path / "scans", tmp_path / "elsewhere"
    for folder in (scans, elsewhere):
        folder.mkdir()
    for name, data in broken_files(count, seed):
        (scans / name).write_bytes(data)
    monkeypatch.chdir(elsewhere)
    for variable in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(elsewhere))
    with Watch() as watch:
        classify(bundle, scans, tmp_path / "out", workers=2, time_limit_s=10)
    table = rows(tmp_path / "out")
    files = {row["path"].split("/")[0] for row in table}
    assert files == {path.name for path in scans.iterdir()}, "every file is in the table"
    for row in table:
        assert row["status"] in ("ok", "failed", "excluded")
        assert (row["reason"] == "") == (row["status"] == "ok"), row
        assert len(row["reason"]) < 200
        assert row["reason"].isprintable()
        assert PLANTED not in row["reason"]
    reasons = Counter(row["reason"] for row in table)
    bugs = {reason: n for reason, n in reasons.items() if reason.startswith(("the decoder", "decoding took"))}
    assert bugs == {}, bugs
    assert sum(row["status"] == "failed" for row in table) > count / 10, "the corpus is not broken enough"
    assert watch.most < MOST_BYTES
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"scans", "elsewhere", "out"}


class Watch:
    """Looks, while it is open, how much memory this process's children take: `most`, in bytes of the largest."""

    def __init__(self) -> None:
        self.most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                try:
                    self.most = max(self.most, child.memory_info().rss)
                except psutil.Error:
                    continue

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
