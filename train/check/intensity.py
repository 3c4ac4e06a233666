"""Do the grey levels fit the declared window? Landmarks of abdominal CT, looked for in HU through the window.

A picture carries no HU, so a wrong window shows only in what it makes of known tissue:
- liver (mask label 1): its median, patient by patient, then the median over patients;
- peaks of the histogram (smoothed over 16 HU): muscle and organs at 25…150 HU, fat at −125…−80 HU where the window
  reaches down to it; nothing in a body has its peak between fat and muscle;
- air: black wherever the window starts above it, in a tenth of the pixels and far more.

Measured, through −40…160 HU: liver 96 HU over 26 LiTS patients, single patients 27 (a fatty liver) to 155 (arterial
phase, thin); 96 over 24 phantoms, 47 to 113. Muscle peak 53 HU (single patients 31 to 67) and 56 (47 to 60). At 0
lie 24 to 60 % of a LiTS patient's pixels, at 255 0.4 to 4 %. Fat in three HU series: −91 to −106. So limits are
30…130 HU for the liver of a set and −20…165 for one patient. A shift by 40 HU and more, or a window of another width
that moves fat or muscle out of place, is found; one by 20 HU is not, nor is every mix of shift and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train.check.examine import Greys
from train.check.findings import Finding

LIVER_OF_SET = (30.0, 130.0)
LIVER_OF_PATIENT = (-20.0, 165.0)
FAT = (-125.0, -80.0)
MUSCLE = (25.0, 150.0)
MOST_WHITE = 0.2
LEAST_BLACK = 0.1

_LEAST_LIVER = 500  # pixels that make a median
_FEWEST_SLICES = 10  # of a set or patient whose peaks are looked at
_SMOOTH_HU = 16.0
_EDGE = 4  # grey levels next to 0 and 255: air and bone under JPEG noise
_LEAST_RISE, _LEAST_HEIGHT = 0.15, 0.25  # of a peak over its foot, and relative to the highest
_MEND = "give the window that the slices were made with, or make them again"


@dataclass(frozen=True)
class Window:
    """Grey levels 0…255 as HU."""

    low: float
    high: float

    def hu(self, grey: float) -> float:
        """HU of a grey level."""
        return self.low + grey * (self.high - self.low) / 255.0

    def __str__(self) -> str:
        return f"{self.low:g}…{self.high:g} HU"

    def holds(self, low: float, high: float) -> bool:
        """Whether a stretch of HU lies inside, not cut by an edge."""
        return self.low < low and high < self.high


def check_intensity(
    patients: Mapping[str, Greys], window_hu: tuple[float, float] | None
) -> tuple[dict[str, Any], list[Finding]]:
    """Figures of the grey levels for the report, and what does not fit the window."""
    whole = sum(patients.values(), Greys())
    summary: dict[str, Any] = {"window_hu": None if window_hu is None else list(window_hu)}
    pixels = int(whole.all.sum())
    if not pixels:
        return summary, []
    summary["share_at_0"] = round(float(whole.all[0]) / pixels, 4)
    summary["share_at_255"] = round(float(whole.all[255]) / pixels, 4)
    summary["darkest_tenth_grey"] = quantile(whole.all, 0.1)
    findings: list[Finding] = []
    if whole.all[-_EDGE:].sum() > MOST_WHITE * pixels:
        share = 100 * whole.all[-_EDGE:].sum() / pixels
        text = f"{share:.0f} % of all pixels are white: inverted pictures, or a window too low? Look at --montage"
        findings.append(Finding("warning", "white", "data set", text))
    if window_hu is None:
        text = "no window is declared, so grey levels mean no HU and cannot be checked: give --window LO HI"
        findings.append(Finding("note", "window-unknown", "data set", text))
        return summary, findings
    window = Window(*window_hu)
    if window.low > -900 and quantile(whole.all, LEAST_BLACK) > _EDGE:
        text = f"less than a tenth of all pixels is black, but through {window} air is: look at --montage, then {_MEND}"
        findings.append(Finding("warning", "no-air", "data set", text))
    livers = {name: quantile(own.liver, 0.5) for name, own in patients.items() if own.liver.sum() >= _LEAST_LIVER}
    summary["darkest_tenth_hu"] = round(window.hu(summary["darkest_tenth_grey"]), 1)
    summary["peaks_hu"] = [round(hu) for hu in peaks(whole.all, window)]
    if livers:
        summary["liver_hu"] = {
            "median_of_patients": round(window.hu(float(np.median(list(livers.values())))), 1),
            "lowest_patient": round(window.hu(min(livers.values())), 1),
            "highest_patient": round(window.hu(max(livers.values())), 1),
            "p5": round(window.hu(quantile(whole.liver, 0.05)), 1),
            "p95": round(window.hu(quantile(whole.liver, 0.95)), 1),
            "patients": len(livers),
        }
    return summary, findings + _misfits(whole, patients, window, livers)


def _misfits(whole: Greys, patients: Mapping[str, Greys], window: Window, livers: Mapping[str, float]) -> list[Finding]:
    """What does not fit the window: the set as a whole, else single patients."""
    reasons = _peak_reasons(whole, window)
    if livers:
        limits = LIVER_OF_SET if len(livers) > 1 else LIVER_OF_PATIENT
        reasons = _liver_reason(float(np.median(list(livers.values()))), window, *limits) + reasons
    if reasons:
        text = f"the grey levels do not fit the window {window}: {'; '.join(reasons)}. {_MEND.capitalize()}"
        return [Finding("error", "window", "data set", text)]
    found = []
    for name, greys in sorted(patients.items()):
        reasons = _liver_reason(livers[name], window, *LIVER_OF_PATIENT) if name in livers else []
        if reasons := reasons + _peak_reasons(greys, window):
            what = f"grey levels unlike the rest of the set at {window}: {'; '.join(reasons)}"
            found.append(Finding("warning", "window", f"patient {name}", f"{what}. Look at the slices, then {_MEND}"))
    return found


def _liver_reason(grey: float, window: Window, low: float, high: float) -> list[str]:
    hu = window.hu(grey)
    if 0 < grey < 255 and low <= hu <= high:
        return []
    where = f"{hu:.0f} HU" if 0 < grey < 255 else f"at the window's edge, {hu:.0f} HU"
    return [f"the liver's median is {where}, not within {low:.0f}…{high:.0f}"]


def _peak_reasons(greys: Greys, window: Window) -> list[str]:
    """What the peaks of the histogram say against the window."""
    if greys.slices < _FEWEST_SLICES:
        return []
    found = peaks(greys.all, window)
    reasons = []
    between = [hu for hu in found if FAT[1] < hu < MUSCLE[0]]
    if between:
        reasons.append(f"a peak at {between[0]:.0f} HU, where no tissue has one")
    if window.holds(*MUSCLE) and not any(MUSCLE[0] <= hu <= MUSCLE[1] for hu in found):
        reasons.append(f"no peak of muscle and organs at {MUSCLE[0]:.0f}…{MUSCLE[1]:.0f} HU")
    if window.holds(FAT[0] - 25, FAT[1] + 25) and not any(FAT[0] <= hu <= FAT[1] for hu in found):
        reasons.append(f"no peak of fat at {FAT[0]:.0f}…{FAT[1]:.0f} HU")
    return reasons


def peaks(histogram: npt.NDArray[np.int64], window: Window) -> list[float]:
    """HU of the peaks of a histogram int64 [256], from low to high: clear ones only."""
    step = (window.high - window.low) / 255
    width = min(2 * max(1, round(_SMOOTH_HU / step / 2)) + 1, 101)
    kernel = np.hanning(width + 2)[1:-1]
    inner = histogram[_EDGE:-_EDGE].astype(np.float64)
    smooth = np.convolve(np.pad(inner, width // 2, mode="edge"), kernel / kernel.sum(), mode="valid")
    tops = [i for i in range(1, len(smooth) - 1) if smooth[i - 1] <= smooth[i] > smooth[i + 1]]
    highest = max((smooth[i] for i in tops), default=0.0)
    clear = [
        i
        for i in tops
        if smooth[i] >= _LEAST_HEIGHT * highest
        and smooth[i] - max(_foot(smooth[i::-1]), _foot(smooth[i:])) >= _LEAST_RISE * smooth[i]
    ]
    return [window.hu(i + _EDGE) for i in clear]


def _foot(slope: npt.NDArray[np.float64]) -> float:
    """The lowest value from a top outwards until something higher than the top."""
    higher = np.flatnonzero(slope > slope[0])
    return float(slope[: higher[0] if len(higher) else None].min())


def quantile(histogram: npt.NDArray[np.int64], share: float) -> float:
    """The grey level below or at which `share` of the pixels lie."""
    return float(np.searchsorted(np.cumsum(histogram), share * histogram.sum()))
