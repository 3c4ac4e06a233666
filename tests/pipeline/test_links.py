"""Links that lead out of the named folders, in whole runs: rows that say how to read them, and workers that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from folder_runs import SIZE, classify, outcome, tricks
from lits_deploy.contract import InputContract
from lits_deploy.decode.decoding import Decoding
from lits_deploy.decode.job import DecodeJob
from lits_deploy.decode.one_slice import bytes_of
from lits_deploy.errors import SliceError
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans.containment import OUTSIDE, real_names
from lits_deploy.watch.changes import Polling, changes_in
from lits_deploy.watch.inbox import EMPTY, state_of
from tiny_bundle import make_tiny_bundle


def test_a_run_reads_links_that_lead_out_only_when_asked(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56)
    scans = tricks(tmp_path / "scans", a="grey 3")
    tricks(tmp_path / "other", b="grey 4")
    (scans / "b.test").symlink_to("../other/b.test")
    (scans / "more").symlink_to("../other")
    summary = classify(bundle, scans, tmp_path / "out")
    assert outcome(tmp_path / "out") == {"a.test": "ok", "b.test": OUTSIDE, "more/": OUTSIDE}
    assert (summary.failed, summary.reasons) == (2, {OUTSIDE: 2})
    assert classify(bundle, scans, tmp_path / "out", follow_links=True).failed == 0
    assert outcome(tmp_path / "out") == {"a.test": "ok", "b.test": "ok", "more/b.test": "ok"}


def test_a_file_that_became_a_link_since_it_was_found_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between discovery and decoding, itself or a folder on its way."""
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56)
    scans = tricks(tmp_path / "scans", a="grey 3", b="grey 4")
    tricks(scans / "sub", c="grey 5")
    tricks(tmp_path / "other", a="grey 6", c="grey 7")
    run = Loop.run

    def swap(self: Loop, *arguments: Any) -> None:
        (scans / "a.test").unlink()
        (scans / "a.test").symlink_to("../other/a.test")
        (scans / "sub").rename(tmp_path / "gone")
        (scans / "sub").symlink_to("../other")
        run(self, *arguments)

    monkeypatch.setattr(Loop, "run", swap)
    classify(bundle, scans, tmp_path / "out")
    assert outcome(tmp_path / "out") == {"a.test": OUTSIDE, "b.test": "ok", "sub/c.test": OUTSIDE}


def test_decoders_without_a_network_and_zips_keep_to_it_too(tmp_path: Path) -> None:
    tricks(tmp_path / "other", a="grey 6")
    within = real_names([tricks(tmp_path / "scans")])
    jobs = [DecodeJob(0, str(tmp_path / "other/a.test"), "hostile_reader")]
    contract = InputContract(size=SIZE, crop=56, window_hu=(-160.0, 240.0))
    with Decoding(ClassifyOptions().decoding(contract, within), Stop()) as decoding:
        assert [end.reason for end, _ in decoding.files(jobs)] == [OUTSIDE]
    with pytest.raises(SliceError, match="--follow-links"):
        bytes_of({"path": str(tmp_path / "other/a.test"), "member": 0, "mtime_ns": None}, 1000, within)


def test_an_inbox_looks_at_links_that_lead_out_and_not_behind_them(tmp_path: Path) -> None:
    inbox, other = tmp_path / "inbox", tricks(tmp_path / "other", a="grey 6")
    tricks(inbox / "study", b="grey 7")
    (inbox / "out").symlink_to(other)
    (inbox / "study/out.test").symlink_to(other / "a.test")
    within = real_names([inbox])

    def states() -> list[str | None]:
        return [state_of(inbox / name, within) for name in ("out", "study")]

    before = states()
    assert None not in before
    assert EMPTY not in before
    tricks(other, a="grey 66", b="grey 7")
    assert states() == before
    assert state_of(inbox / "out") != before[0]

    stop = Stop()
    source = changes_in(inbox, stop, quiet_s=1, poll=False, warn=pytest.fail, within=within)
    source.close()
    assert isinstance(source, Polling)  # notices would be asked for everything behind the links
