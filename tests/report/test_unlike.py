"""The report marks series that are unlike the training series, says in what, and how many would be by chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from lits_deploy.ledger import Ledger
from lits_deploy.report.formatting import compared
from lits_deploy.report.page import page
from lits_deploy.report.view import view
from lits_deploy.studies import STUDY_COLUMNS, study_rows
from looks import night, people


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return night(tmp_path_factory.mktemp("a") / "out", range(100, 112), reference=people(), changes={"middle": 60})


def test_marked_series_have_a_badge_a_filter_and_a_sentence(out: Path) -> None:
    with Ledger(out) as ledger:
        shown = view(ledger)
        text = page(shown)
        rows = [
            dict(zip(STUDY_COLUMNS, row, strict=True))
            for row in study_rows(ledger.rows_by_volume(), ledger.volumes(), shown.reference)
        ]
    marked = [series for series in shown.series if series.against.marked]
    assert len(marked) >= 11
    assert text.count('<span class="badge unlike">unlike training</span>') == len(marked)
    assert all("unlike" in series.tags for series in marked)
    assert '<option value="unlike">unlike the training series</option>' in text
    assert f"{len(marked)} of 12 series are unlike the 21 training series" in text
    assert "about 1.1 would be marked by chance (1 in 11)" in text
    assert "its soft tissue is brighter (" in text
    assert sum(row["against_training"].startswith("unlike the training series: ") for row in rows) == len(marked)


def test_without_a_reference_the_page_says_so_and_marks_none(tmp_path: Path) -> None:
    out = night(tmp_path / "out", range(4))
    with Ledger(out) as ledger:
        shown = view(ledger)
        text = page(shown)
    assert "No series was compared with those that it was trained on: the bundle keeps nothing" in compared(shown)
    assert "unlike training" not in text
    assert compared(shown) in text.replace("&#39;", "'")


def test_of_phantoms_that_is_said(tmp_path: Path) -> None:
    reference = people()
    synthetic = type(reference)(numbers=reference.numbers, data="phantoms", synthetic=True)
    with Ledger(night(tmp_path / "out", range(4), reference=synthetic)) as ledger:
        assert "21 training series, synthetic" in compared(view(ledger)).lower()
