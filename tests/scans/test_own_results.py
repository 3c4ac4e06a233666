"""Results of ours among the scans: their masks are no scans, and nothing else is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from folder_runs import SIZE, classify, rows
from lits_deploy.pipeline import output
from lits_deploy.pipeline.run import run_folder
from lits_deploy.scans import own_results
from lits_deploy.scans.discover import Discovery
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle


def test_the_names_are_those_that_runs_write() -> None:
    assert (own_results.LEDGER, own_results.MASKS_MARK) == (output.FILE_NAME, output.MASKS_MARK)


@pytest.mark.parametrize("ledger_apart", [False, True])
def test_masks_are_passed_over_and_the_run_says_so(tmp_path: Path, ledger_apart: bool) -> None:
    scans = folder_of_slices(tmp_path / "scans", 5, size=SIZE)
    found = {record.path for record in Discovery([scans])}
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56)
    out = scans / "results"
    classify(bundle, scans, out, ledger=tmp_path / "ledger" if ledger_apart else None)
    (out / "masks/png").mkdir(parents=True)
    (out / "masks" / own_results.MASKS_MARK).touch()
    for name in ("a.png", "b.png"):
        (out / "masks/png" / name).write_bytes(next(scans.rglob("*.png")).read_bytes())
    (out / "late.png").write_bytes(next(scans.rglob("*.png")).read_bytes())  # a scan that somebody put there
    discovery = Discovery([scans])
    assert {record.path for record in discovery} == found | {"results/late.png"}
    assert discovery.own == 2
    summary = run_folder(bundle, [scans], tmp_path / "again")
    assert len(rows(tmp_path / "again")) == len(found) + 1
    assert any("results of lits-deploy: 2" in warning for warning in summary.warnings)
