"""The page: nothing hostile gets through, nothing comes from outside, it is small, equal ledgers give equal bytes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ledgers import ABOUT_TINY, BASE, CLASSES, RAN_ONCE, make_ledger
from lits_deploy import DISCLAIMER
from lits_deploy.errors import OutputError
from lits_deploy.ledger import ABOUT, EXCLUDED, OK, RAN, FileRow, HeaderRow, Ledger, SliceRow
from lits_deploy.report import formatting
from lits_deploy.report.page import page, write_page
from lits_deploy.report.view import MOST_LISTED, MOST_REASONS, MOST_STRIPS, Reason, common_label, view
from lits_deploy.results import COLUMNS, PROVENANCE, slice_rows
from lits_deploy.scans.discover import ScanRecord

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}&amp;"


class Parsed(HTMLParser):
    """Tags with their attributes, and texts, as a browser would understand them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("wbr", "bdi", "span"):
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.parts)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    with make_ledger(tmp_path_factory.mktemp("plain")) as ledger:
        return page(view(ledger))


def test_hostile_paths_reasons_and_identifiers_are_text(tmp_path: Path) -> None:
    with make_ledger(
        tmp_path,
        path=lambda n, k: f"{HOSTILE}/{n}/{k}",
        reason=HOSTILE,
        identifiers={HOSTILE: HOSTILE},
        names="a-identified",
    ) as ledger:
        text = page(view(ledger))
    parsed = Parsed(text)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert all(
        "src" not in attributes or str(attributes["src"]).startswith("data:image/jpeg;base64,")
        for _, attributes in parsed.tags
    )
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert parsed.text.count(HOSTILE) > 4, "and it is all there to be read"


def test_nothing_comes_from_outside_and_the_policy_allows_only_what_is_here(plain: str) -> None:
    parsed = Parsed(plain)
    for tag, attributes in parsed.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert "style" not in attributes, "the policy would refuse it"
        for name in ("src", "href"):
            if (target := attributes.get(name)) is not None:
                assert target.startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"https?://|url\(|@import", plain)
    (policy,) = (str(a["content"]) for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", plain, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_it_says_what_it_is_not_and_what_classified_the_slices(plain: str) -> None:
    text = " ".join(Parsed(plain).text.split())
    assert text.count(DISCLAIMER) == 2
    for said in (
        "4 series of 4 studies, 80 slices, classified by x",
        "of 100 slices with a lesion it called 50 a lesion, and of 100 slices it called a lesion, 50 had one",
        "classified by x (x, x), 2026-11-28 21:45 UTC.",
        "When 2026-11-28 21:45 UTC Scans ward 7 Machine AMD EPYC, 2 cores",
        "Test figures lits/test, 100 slices of 5 patients: accuracy 0.800, balanced accuracy 0.722, liver / no liver "
        "0.950, lesion-slice AUROC not defined (onnxruntime 1)",
        "Network tiny, 9 parameters",
        "Runtime fake 0 on cpu (fake)",
        "window [-40, 160] HU, centre 224 seen",
        "Temperature 1.500 (fitted on 10 slices of 2 patients)",
        "Abstains where no class reaches 0.500",
        "the highest mean of the calibrated lesion probability over 3 neighbouring slices",
        "its class-activation map",
    ):
        assert said in text, said


def test_an_empty_strip_is_not_no_liver_and_a_short_one_ends_where_its_series_ends(tmp_path: Path) -> None:
    with make_ledger(tmp_path, series=1, slices=12) as ledger:
        text = page(view(ledger))
    strips = [a for tag, a in Parsed(text).tags if str(a.get("class")).startswith(("strip", "ribbon"))]
    assert [(a["width"], str(a["viewbox"]).split()[2]) for a in strips] == [("50.0%", "12")] * 4
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for rule in re.findall(r"\.(?:strip|ribbon)\b[^{]*\{([^}]*)\}", style):
        assert "--none" not in rule, "the ground of a strip has the colour of no class"
        assert "width:" not in rule, "it would hide the attribute"


def test_two_starts_are_reported_and_an_earlier_version_noted_none(tmp_path: Path) -> None:
    with make_ledger(tmp_path, series=1) as ledger:
        ledger.note(RAN, json.dumps({**RAN_ONCE, "last": "2026-11-29 01:02 UTC", "scans": []}))
        text = " ".join(Parsed(page(view(ledger))).text.split())
        assert "When 2026-11-28 21:45 UTC to 2026-11-29 01:02 UTC Machine" in text
        assert formatting.ran(dataclasses.replace(view(ledger), ran=None)) is None


def test_series_stand_by_suspicion_with_their_pictures(plain: str) -> None:
    tags = Parsed(plain).tags
    ranks = [(a["data-rank"], float(str(a["data-suspicion"]))) for tag, a in tags if tag == "tbody"]
    assert [rank for rank, _ in ranks] == ["1", "2", "3", "4"]
    assert [p for _, p in ranks] == sorted((p for _, p in ranks), reverse=True)
    assert "study-000/IM0010.dcm" in Parsed(plain).text
    images = [a for tag, a in tags if tag == "img"]
    assert 4 <= len(images) <= 24
    assert all(a["alt"] and a["loading"] == "lazy" for a in images)
    assert images[0]["alt"] == "slice 7 of 20, z 35.0 mm: liver, lesion probability 0.42"


def test_slices_have_the_numbers_of_the_tables(tmp_path: Path) -> None:
    with make_ledger(tmp_path, series=2) as ledger:
        shown, constant = view(ledger), ("",) * len(PROVENANCE)
        table = [
            dict(zip(COLUMNS, row, strict=True)) for row in slice_rows(ledger, CLASSES, ledger.volumes(), constant)
        ]
    numbers = {row["path"]: row["slice"] for row in table}
    assert sorted(numbers.values()) == sorted([*range(1, 21), *range(1, 21)])
    assert numbers["study-000/IM0002.dcm"] == 20, "it could not be read, so nobody knows where it lies: at the end"
    for series in shown.series:
        assert series.pictures
        for picture in series.pictures:
            assert formatting.position_of(series, picture).startswith(f"slice {numbers[picture.row.path]} of 20")
    assert ("study-000/IM0002.dcm", 20, 20) in shown.reasons["failed"][0].listed


def test_what_is_no_image_is_one_line_and_no_series(tmp_path: Path, plain: str) -> None:
    with make_ledger(tmp_path) as ledger:
        before = view(ledger)
        paths = ["KO.dcm", "PR.dcm", "SR.dcm", *(row.path for row in ledger.rows())]
        ledger.stage([ScanRecord(path, 100, 0, kind="dicom") for path in paths])
        ledger.adopt({"bundle": "b"}, BASE)
        for pending in list(ledger.pending(9)):
            number, what = pending.file, pending.path.removesuffix(".dcm")
            info = json.dumps({"kind": "dicom", "modality": what, "orientation": "unknown"})
            row = SliceRow(number, 0, EXCLUDED, f"modality {what}: not an image", None, None, None, None, "{}")
            ledger.record([row], [FileRow(number, OK, None, "ab" * 32, "w", HeaderRow(what, "study9", "", info))])
        after = view(ledger)
        text = " ".join(Parsed(page(after)).text.split())
    assert (len(after.series), after.slices, after.no_images) == (len(before.series), before.slices, 3)
    assert "Not listed: 3 files without an image (reports, presentation states, plans, indexes)." in text
    assert "3 × not an image: a report, a presentation state, a plan or an index KO.dcm, slice 1 PR.dcm" in text
    assert "modality SR" not in text
    assert "Not listed" not in plain


def test_reasons_are_grouped_and_listed(plain: str) -> None:
    text = " ".join(Parsed(plain).text.split())
    assert "failed 4 could not be read or computed 4 × the file is empty study-000/IM0002.dcm" in text
    assert "4 × no body in the picture" in text
    assert "4 × unsure: no class reaches 0.5" in text


def test_nobody_is_named_unless_asked_for(tmp_path: Path) -> None:
    name = {"PatientName": "UNMISTAKABLE^NAME"}
    with make_ledger(tmp_path / "hashed") as ledger:
        hashed = page(view(ledger))
    assert "no identifier from a header is on this page" in hashed
    assert BASE not in hashed
    with make_ledger(tmp_path / "clear", identifiers=name, names="abcdef-identified") as ledger:
        clear = page(view(ledger))
    assert "UNMISTAKABLE^NAME" in clear
    assert "this page is patient data" in clear
    with make_ledger(tmp_path / "paths", path=lambda n, k: f"{7 * n + 3:03d}{k:09d}", names="abcdef-paths") as ledger:
        pseudonymous = page(view(ledger))
    assert re.search(r"series [0-9a-f]{12}", pseudonymous), "what hashes have in common is no name"
    assert "Paths are hashed, too." in pseudonymous


def test_equal_ledgers_give_equal_bytes(plain: str, tmp_path: Path) -> None:
    with make_ledger(tmp_path / "again") as ledger:
        assert page(view(ledger)) == plain
        first = write_page(ledger, tmp_path / "report.html").read_bytes()
        assert write_page(ledger, tmp_path / "report.html").read_bytes() == first == plain.encode()
    with Ledger(tmp_path / "again") as ledger:
        assert page(view(ledger)) == plain


def test_ten_thousand_slices_stay_far_below_ten_megabytes(tmp_path: Path) -> None:
    with make_ledger(
        tmp_path, series=100, slices=100, path=lambda n, k: f"archive/2024/patient-{n:04d}/series-2/IM-0001-{k:04d}.dcm"
    ) as ledger:
        assert len(ledger.pictured()) == 180
        text = page(view(ledger))
    assert 2_000_000 < len(text.encode()) < 8_000_000
    assert text.count("<figure>") == 180


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    with make_ledger(tmp_path, series=MOST_LISTED + 5, slices=4, overlay=None) as ledger:
        text = page(view(ledger))
    assert "and 5 more: filter slices.csv for this reason" in text
    assert "No pictures were made in this run." in text
    shown = Reason(kind="failed", text="x")
    for index in (0, 1, 2, 7):
        shown.add("volume.nii", index)
    shown.add("other.nii", 0)
    assert shown.listed == [("volume.nii", 0, 2), ("volume.nii", 7, 7), ("other.nii", 0, 0)]
    assert (shown.rows, shown.more) == (5, 0)


def test_many_reasons_and_many_series_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lits_deploy.report.view.MOST_REASONS", 1)
    monkeypatch.setattr("lits_deploy.report.view.MOST_SERIES", 3)
    with make_ledger(tmp_path, series=5) as ledger:
        shown = view(ledger)
        assert (len(shown.series), shown.hidden) == (3, 2)
        assert "2 less suspicious series are in studies.csv only" in page(shown)
    assert MOST_REASONS > 1
    assert MOST_STRIPS < 2_000


def test_a_run_that_never_began_has_no_page(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger, pytest.raises(OutputError, match="holds no run yet"):
        view(ledger)


def test_a_ledger_without_notes_of_its_network_still_has_a_page(tmp_path: Path) -> None:
    with make_ledger(tmp_path) as ledger:
        ledger._db.execute("DELETE FROM meta WHERE key IN ('about', 'pictures')")
        text = page(view(ledger))
    assert "<dt>Runtime</dt><dd>x</dd>" in text


def test_labels_are_what_paths_share() -> None:
    assert common_label(["a/volume-009_0002.jpg", "a/volume-009_0102.jpg"]) == "a/volume-009_…"
    assert common_label(["a/IM1", "a/IM23"]) == "a/IM…"
    assert common_label(["one.nii.gz", "one.nii.gz"]) == "one.nii.gz"
    assert common_label(["a/1", "b/2"]) is None


def test_labels_part_where_the_eye_should_go() -> None:
    assert formatting.parted("a/b/IM…") == ("a/b/", "IM…")
    assert formatting.parted("a/b/…") == ("a/", "b/…")
    assert formatting.parted("one.nii") == ("", "one.nii")
    assert formatting.breakable("a/<b>_c.d") == "a/<wbr>&lt;b&gt;_<wbr>c.<wbr>d"


def test_copies_count_once_in_the_tiles(tmp_path: Path) -> None:
    with make_ledger(tmp_path, series=1, slices=8) as ledger:
        once = view(ledger).labels
        info = '{"kind":"dicom","modality":"CT","orientation":"axial"}'
        header = HeaderRow("series0000", "study00000", "", info)
        names = ["again.dcm", *(f"study-000/IM{k:04d}.dcm" for k in range(8))]
        ledger.stage([ScanRecord(name, 100, 0, kind="dicom") for name in names])
        ledger.adopt({"bundle": "b"}, BASE)
        ((number, *_),) = ledger.pending(9)
        copy = SliceRow(number, 0, OK, None, 1, 0.2, 0.5, 0.3, '{"position":0.0}')
        ledger.record([copy], [FileRow(number, OK, None, "ab" * 32, "w", header)])
        assert [row.copy_of for row in ledger.rows() if row.copy_of] == ["again.dcm"]
        assert view(ledger).labels == once
        assert "(and 1 copy, not counted)" in page(view(ledger))


class TestOperatingPoint:
    """What the run's rule will miss stands at the top, and figures of another rule do not."""

    @staticmethod
    def page_of(tmp_path: Path, **decided: object) -> str:
        about = {**ABOUT_TINY, "decided": {"rule": "argmax", "threshold": None, "promised": None, **decided}}
        with make_ledger(tmp_path) as ledger:
            ledger.note(ABOUT, json.dumps(about))
            return " ".join(Parsed(page(view(ledger))).text.split())

    def test_a_promise_is_said_before_anything_else(self, tmp_path: Path, plain: str) -> None:
        sentence, patients = "Of 100 slices with a lesion it is expected to find 71.", "Of 19 patients 18."
        decided = {"rule": "balanced", "threshold": 0.125, "promised": sentence, "by_patient": patients}
        text = self.page_of(tmp_path, **decided)
        assert f"What it will miss. {sentence} {patients}" in text
        assert text.index("What it will miss") < text.index("Series by suspicion")
        assert "Called a lesion where its calibrated odds reach 0.125 (balanced)" in text
        assert "Abstains where no class reaches 0.500 and it is not called a lesion" in text
        assert "Measured on 100 slices" not in text, "by the most probable class: not what this run says"
        assert "What it will miss" not in plain

    def test_without_a_promise_the_page_is_as_it_was(self, tmp_path: Path, plain: str) -> None:
        text = self.page_of(tmp_path)
        assert text == " ".join(Parsed(plain).text.split())
        assert "Called a lesion where no other class is likelier (argmax)" in text
        assert "Measured on 100 slices" in plain
