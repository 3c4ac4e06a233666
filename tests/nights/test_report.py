"""`lits-deploy drift` on ledgers: from what is noted in them alone, with a page, JSON and exit codes."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, LedgerError, MissingExtra, OutputError, UserError
from lits_deploy.ledger import FILE_NAME
from lits_deploy.nights.night import read_night
from lits_deploy.nights.report import look_at
from looks import night, people
from tiny_bundle import make_tiny_bundle

pytest.importorskip("scipy")


def drift(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["drift", *map(str, arguments)])


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, reference = tmp_path_factory.mktemp("nights"), people()
    return {
        "usual": night(folder / "usual", range(100, 112), reference=reference),
        "later": night(folder / "later", range(200, 212), reference=reference),
        "bright": night(folder / "bright", range(300, 312), reference=reference, changes={"middle": 40, "low": 15}),
        "mute": night(folder / "mute", range(400, 412)),
    }


def test_a_night_like_the_others_ends_with_0_and_says_what_would_have_been_missed(outs: dict[str, Path]) -> None:
    done = drift(outs["usual"])
    assert done.exit_code == 0, done.output
    assert (
        "usual: No difference from the 21 training series found in any of the 11 respects that were compared."
        in done.output
    )
    assert "below" in done.output
    page = (outs["usual"] / "drift.html").read_text(encoding="utf-8")
    assert page.count("<circle") > 11 * 33
    assert "would probably have gone unnoticed" in page
    assert "Nothing was compared" not in page
    assert "What to do" not in page
    assert (outs["usual"] / "drift.html").stat().st_mode & 0o777 == 0o600


def test_a_page_without_a_comparison_does_not_speak_of_shifts(tmp_path: Path) -> None:
    out = night(tmp_path / "out", range(3), reference=people())
    assert drift(out).exit_code == 0
    page = (out / "drift.html").read_text(encoding="utf-8")
    assert "Not compared with the 21 training series: 3 and 21 series are too few" in page
    assert "Nothing was compared, so this page cannot say" in page
    assert "gone unnoticed" not in page


def test_a_shifted_night_ends_with_1_and_is_reported_in_what(
    outs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = drift(outs["usual"], outs["bright"], "--out", outs["bright"] / "other.html")
    assert done.exit_code == 1, done.output
    lines = done.output.splitlines()
    assert any(
        line.startswith("bright: Differs from the 21 training series in ") and "soft tissue" in line for line in lines
    )
    assert any(line.startswith("bright: Differs from the 12 series of usual in ") for line in lines)
    assert any(line.startswith("usual: No difference from the 21 training series found") for line in lines)
    assert "What to do about a difference" in (outs["bright"] / "other.html").read_text(encoding="utf-8")
    monkeypatch.setenv("LITS_DEPLOY_UNATTENDED", "1")
    assert drift(outs["bright"]).exit_code == 4


def test_json_holds_it_all(outs: dict[str, Path]) -> None:
    done = drift(outs["usual"], outs["later"], outs["bright"], "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [one["name"] for one in document["nights"]] == ["usual", "later", "bright"]
    assert [(one["night"], one["with"]) for one in document["comparisons"]] == [
        ("usual", "training"),
        ("later", "training"),
        ("bright", "training"),
        ("bright", "2 nights before"),
    ]
    first = document["comparisons"][2]["findings"]
    (middle,) = (one for one in first if one["name"] == "middle")
    assert middle["found"]
    assert middle["own"] > middle["found_above"] > middle["range"][0]
    assert middle["series"] == [12, 21]
    assert document["found"] == sum(f["found"] for one in document["comparisons"] for f in one["findings"])


def test_a_study_has_one_voice(tmp_path: Path) -> None:
    """Its longest series: twelve copies of one patient are one."""
    out = night(tmp_path / "out", range(5), reference=people(), each=3)
    read = read_night(out)
    assert (read.sample.series, read.series) == (5, 15)
    assert {len(column) for column in read.sample.numbers.values()} == {5}


def test_another_bundles_training_series_can_be_asked_for(outs: dict[str, Path], tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56)
    with pytest.raises(BundleError, match="keeps nothing of its training series"):
        look_at([outs["mute"]], bundle=bundle)
    done = drift(outs["mute"])
    assert isinstance(done.exception, UserError)
    assert "--reference BUNDLE" in str(done.exception)


def test_nights_without_a_reference_are_held_against_each_other(outs: dict[str, Path], tmp_path: Path) -> None:
    nights = look_at([night(tmp_path / "first", range(500, 512)), outs["mute"]])
    assert [(one.own.name, one.other.name) for one in nights.comparisons] == [("mute", "first")]
    scanners = [
        night(tmp_path / name, range(n, n + 12), technique={"scanner": name}) for n, name in ((0, "GE"), (20, "Canon"))
    ]
    assert {(one.name, one.word) for one in look_at(scanners).comparisons[0].found} >= {("scanner", "GE")}


@pytest.mark.parametrize("how", ["nothing there", "damaged", "twice", "share"])
def test_what_cannot_be_read_is_one_line(how: str, outs: dict[str, Path], tmp_path: Path) -> None:
    if how == "nothing there":
        with pytest.raises(OutputError, match=r"holds no ledger.sqlite\. Fix: name the OUT"):
            look_at([tmp_path])
        assert list(tmp_path.iterdir()) == []
    elif how == "damaged":
        out = night(tmp_path / "out", range(4), reference=people())
        data = (out / FILE_NAME).read_bytes()
        (out / FILE_NAME).write_bytes(data.replace(b"study2", b"study3", 1))
        with pytest.raises(LedgerError, match="damaged"):
            look_at([out])
    elif how == "twice":
        with pytest.raises(UserError, match="named twice"):
            look_at([outs["usual"], outs["usual"]])
    else:
        with pytest.raises(UserError, match="not a share of findings"):
            look_at([outs["usual"]], false_share=1.5)


def test_without_scipy_it_names_the_extra_before_it_reads(
    outs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "scipy":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "scipy", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"lits-deploy\[drift\]"):
        look_at([outs["usual"] / "nowhere"])


def test_the_page_says_nothing_that_was_not_escaped(tmp_path: Path) -> None:
    out = night(tmp_path / "<img src=x onerror=alert(1)>", range(6), reference=people())
    assert drift(out).exit_code in (0, 1)
    page = (out / "drift.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "&lt;img src=x" in page
