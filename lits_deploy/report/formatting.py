"""Numbers and states as a reader wants them; None is a dash."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from lits_deploy.contract import in_hu
from lits_deploy.drift.compare import rate
from lits_deploy.measured import figures_line, lesions_line, measured_on
from lits_deploy.operating_point import ARGMAX, OUT_OF_FOLD
from lits_deploy.pages import escape
from lits_deploy.procedure import procedure_line, procedure_on
from lits_deploy.report import pair
from lits_deploy.report.view import ReportPicture, ReportView, SeriesView
from lits_deploy.studies import SeriesSummary
from lits_deploy.synthetic import CAVEAT, MARK

DASH = "–"
SCANS_SHOWN = 5
_BREAKS = re.compile(r"([/_.-])")

STATUS = {
    "lesion": "with a slice called lesion",
    "no-lesion": "without a slice called lesion",
    "unlike": "unlike the training series",
    "abstained": "with slices without a class",
    "excluded": "with excluded slices",
    "failed": "with failures",
    "doubtful": "with doubts, or copies",
    "no-answer": "without any answer",
}
"""The filters, in order: tag of a series → what is chosen."""

EXPLAINED = {
    "failed": "could not be read or computed",
    "excluded": "failed a check of the input, so the network never saw them: they are not what it was trained for",
    "abstained": "got probabilities and no class: the network is less sure than its bundle requires",
}


def probability(value: float | None) -> str:
    """Two decimals."""
    return DASH if value is None else f"{value:.2f}"


def millimetres(value: float | None) -> str:
    """Whole mm."""
    return DASH if value is None else f"{value:.0f} mm"


def signed(value: float, digits: int) -> str:
    """With a proper minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def count(value: int) -> str:
    """With thousands separated."""
    return f"{value:,}"


def amount(value: int, one: str, many: str | None = None) -> str:
    """`1 slice`, `2 slices`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def run_of(s: SeriesSummary) -> str:
    """The longest run of slices called lesion."""
    if not s.answered:
        return DASH
    if not s.longest_lesion_run:
        return "none"
    length = "" if s.lesion_run_mm is None else f", {s.lesion_run_mm:.0f} mm"
    return amount(s.longest_lesion_run, "slice") + length


def kind_of(series: SeriesView) -> str:
    """What kind of series it is: `DICOM CT, axial`, `pictures`."""
    info = series.summary.info
    if info.get("kind") == "picture":
        return "pictures"
    names = {"dicom": "DICOM", "nifti": "NIfTI"}
    first = " ".join(str(part) for part in (names.get(str(info.get("kind")), ""), info.get("modality")) if part)
    orientation = str(info.get("orientation") or "")
    return ", ".join(part for part in (first, orientation if orientation != "unknown" else "") if part) or "series"


def series_facts(s: SeriesSummary) -> list[tuple[str, str]]:
    """What is to be known of how a series was put together: doubts first, nothing that is as it should be."""
    arranged = s.arranged
    found = [("doubt", doubt) for doubt in arranged.get("doubts", ())]
    if s.copy_of:
        found.append(("copy", f"every slice is also in series {s.copy_of}; not ranked"))
    if s.copies:
        found.append(("copies", f"{amount(s.copies, 'duplicate slice')}, not counted"))
    if arranged.get("by") not in (None, "position"):
        found.append(("order", f"by {arranged['by']}"))
    steps = {name: arranged.get(name) or 0 for name in ("missing", "repeated", "irregular")}
    if any(steps.values()):
        missing, repeated, irregular = steps.values()
        counts = ((missing, "missing"), (repeated, "repeated"), (irregular, "irregularly spaced"))
        found.append(("distances", ", ".join(f"{n:,} {what}" for n, what in counts if n)))
    return found


def ends_of(series: SeriesView) -> tuple[str, str]:
    """What stands at both ends of a strip; all of it at the left of one that does not fill its width.

    Slices are numbered as beside pictures, from 1.
    """
    if series.in_mm and series.extent is not None:
        left, right = f"feet {signed(series.extent[0], 0)} mm", f"{signed(series.extent[1], 0)} mm head"
    else:
        left, right = "slice 1", f"slice {series.summary.slices:,}"
    if series.profile.share == 100:
        return left, right
    return (left if left == right else f"{left} … {right}"), ""


def parted(label: str) -> tuple[str, str]:
    """A path's folder, and what is in it; of a folder's content as a whole, the folder is what counts."""
    end = len(label) - len("/…") if label.endswith("/…") else len(label)
    cut = label.rfind("/", 0, end) + 1
    return label[:cut], label[cut:]


def breakable(text: str) -> Markup:
    """Text, escaped, that a browser may break behind `/`, `_`, `-` and `.`."""
    return Markup(_BREAKS.sub(r"\1<wbr>", str(escape(text))))  # none of these stands in an escaped character


def strip_text(series: SeriesView) -> str:
    """A strip in words, for those who do not see it."""
    s = series.summary
    if not s.answered:
        return f"{amount(s.slices, 'slice')}, none of them classified"
    return (
        f"{amount(s.slices, 'slice')}; called lesion {s.classes[2]}, liver {s.classes[1]}, no liver {s.classes[0]}; "
        f"highest lesion probability {probability(s.max_p2)}"
    )


def position_of(series: SeriesView, picture: ReportPicture) -> str:
    """Where a pictured slice lies along its series."""
    text = f"slice {picture.index + 1} of {series.summary.slices:,}"
    position = picture.row.position
    return text if position is None or not series.in_mm else f"{text}, z {signed(position, 1)} mm"


def answer_of(view: ReportView, picture: ReportPicture) -> str:
    """What the slice was called."""
    return "abstained" if picture.row.label is None else view.classes[picture.row.label]


def overlay_text(view: ReportView) -> str:
    """What is drawn over the pictures, in a sentence or two."""
    overlay = view.overlay
    if overlay is None:
        return "No pictures were made in this run."
    if overlay["kind"] == "cam":
        return (
            f"Over a picture, lines show where {overlay['network']} finds what speaks for a lesion: its "
            "class-activation map, at half of its highest value (thin) and at 80 % of it (thick). It is only a few "
            "cells wide; it shows what moved the network, not the outline of a lesion."
        )
    if overlay["kind"] == "labels":
        return f"Over a picture, lines are the outlines that {overlay['network']} gives: liver green, lesions red."
    return f"Nothing is drawn over the pictures: {overlay['why']}."


def tested(view: ReportView) -> str | None:
    """How far the network can be trusted, from its bundle: sensitivity and precision of `lesion` on unseen slices."""
    test = _test(view)
    if test is None or view.about is None or view.about["task"] != "classify":
        return None
    if test.get("rule", ARGMAX) != _decided(view).get("rule", ARGMAX):
        return None  # measured under another rule than this run's
    line = lesions_line(test, abstains=view.about["abstain_below"] is not None)
    return f"{CAVEAT} {line}" if line and test["synthetic"] else line


def promised(view: ReportView) -> str | None:
    """What the run's rule is expected to miss on new patients; None where its bundle promised nothing."""
    decision = _decided(view)
    return " ".join(text for key in ("promised", "by_patient") if (text := decision.get(key))) or None


def _decided(view: ReportView) -> dict[str, Any]:
    """By which rule class 2 was given (`pipeline.about.decided`); empty for runs before there were any."""
    return (view.about or {}).get("decided") or {}


def compared(view: ReportView) -> str:
    """How many series are unlike those that the network was trained on, or that nobody knows."""
    unlike, like = view.compared["unlike"], view.compared["like"]
    if not unlike + like:
        why = view.compared.most_common(1)
        return f"No series was compared with those that it was trained on: {why[0][0]}." if why else ""
    assert view.reference is not None
    known = view.reference.series
    mark = f", {MARK}" if view.reference.synthetic else ""
    share = rate(known)
    text = (
        f"{unlike:,} of {amount(unlike + like, 'series', 'series')} {'is' if unlike == 1 else 'are'} unlike the "
        f"{known:,} training series{mark}. Even if all were like them, about {share * (unlike + like):.1f} would be "
        f"marked by chance (1 in {1 / share:.0f})."
    )
    rest = sum(view.compared.values()) - unlike - like
    return text + (f" {amount(rest, 'series', 'series')} could not be compared." if rest else "")


def _test(view: ReportView) -> dict[str, Any] | None:
    """Figures of the file in use on its test split; None where nobody measured them, or another network's alone."""
    test: dict[str, Any] | None = (view.about or {}).get("test")
    return test if test and "runtime" in test else None  # of an earlier version: what training had measured


def ran(view: ReportView) -> str | None:
    """When the slices were classified: one time, or the first start and the last that answered any."""
    if view.ran is None:
        return None
    first, last = view.ran["first"], view.ran["last"]
    return last if first == last else f"{first} to {last}"


def facts(view: ReportView) -> list[tuple[str, str]]:
    """Identity of the run: name and value, in reading order."""
    p, about = view.provenance, view.about
    found = [("Run", p["run_id"])]
    if view.ran is not None:
        found.append(("When", ran(view) or DASH))
        if scans := view.ran["scans"]:
            more = len(scans) - SCANS_SHOWN
            found.append(("Scans", ", ".join(scans[:SCANS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")))
        if machine := view.ran["machine"]:
            found.append(("Machine", machine))
    if about is None:
        return [*found, *((name.capitalize(), value) for name, value in p.items() if name != "run_id")]
    contract, runtime, artifact = about["contract"], about["runtime"], about["artifact"]
    window = contract["window_hu"]
    parameters = about["model"]["parameters"]
    found += [
        ("Network", about["model"]["name"] + (f", {parameters:,} parameters" if parameters else "")),
        ("Bundle", about["bundle"]),
        ("Artifact", f"{artifact['name']} ({runtime['precision']}), SHA-256 {artifact['sha256']}"),
        (
            "Runtime",
            f"{runtime['name']} {runtime['version']} on {runtime['device']} ({', '.join(runtime['providers'])})",
        ),
        (
            "Input contract",
            f"{contract['size']}×{contract['size']}, window "
            + (in_hu(window) if window else "not declared")
            + (f", centre {contract['crop']} seen" if contract["crop"] else "")
            + f"; {contract['orientation']}; {contract['sha256'][:12]}",
        ),
    ]
    rule, threshold = _decided(view).get("rule", ARGMAX), _decided(view).get("threshold")
    if about["task"] == "classify":
        fitted, below = about["calibrated_on"], about["abstain_below"]
        how = (
            f"fitted on {fitted['slices']:,} slices of {amount(fitted['patients'], 'patient')}"
            + (f", {OUT_OF_FOLD}" if fitted.get("source") == OUT_OF_FOLD else "")
            + (f", {MARK}" if fitted.get("synthetic") else "")
            if fitted
            else "not fitted"
        )
        whose = "the odds by both networks" if "pair" in about else "its calibrated odds"
        where = "no other class is likelier" if threshold is None else f"{whose} reach {threshold:.3g}"
        found.append(("Called a lesion", f"where {where} ({rule})"))
        unless = "" if threshold is None else " and it is not called a lesion"
        found += [
            ("Temperature", f"{about['temperature']:.3f} ({how})"),
            (
                "Abstains",
                "never" if below is None else f"where no class reaches {below:.3f}{unless}",
            ),
        ]
    found += pair.facts(about)
    test = _test(view)
    figures = "not measured on this file" if test is None else f"{measured_on(test)}: {figures_line(test)}"
    found.append(("Test figures", figures if test is None else f"{figures} ({test['runtime']})"))
    if procedure := about.get("procedure"):  # earlier versions noted none
        found.append(
            ("Way of training", f"{procedure_on(procedure)}: {procedure_line(procedure, rule)}; of no single file")
        )
    if view.overlay and view.overlay["network"]:
        found.append(("Over pictures", view.overlay["network"]))
    found.append(("lits-deploy", about["lits_deploy"]))
    if len(view.answered) > 1:  # the versions above are those of the last start: an update does not answer again
        first, *later = view.answered
        changed = {name for row in later for name in row.versions.items() ^ first.versions.items()}
        names = sorted({name for name, _ in changed})
        for row in view.answered:
            versions = ", ".join(f"{name} {row.versions[name]}" for name in names if name in row.versions)
            found.append((f"Answered {amount(row.slices, 'slice')}", versions))
    return found
