"""Which slices a precision flips: a table and a contact sheet, for the eyes of whoever decides.

They hold patients' pixels, so they lie beside the bundle and never in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from export.gate.comparison import Flip, GateVerdict
from lits_deploy import DISCLAIMER
from lits_deploy.files import atomic_path, write_text
from lits_deploy.printable import printable
from lits_deploy.spreadsheet import csv_text

COLUMNS = 6
MOST = 60
"""Slices on a contact sheet: lost lesions first, then the largest changes."""

TILE, TEXT, HEAD = 160, 44, 40
"""Sizes in pixels: a slice, the text below it, the text above all."""


def write_report(folder: Path, verdicts: Sequence[GateVerdict]) -> list[Path]:
    """`gate-<artifact>-flipped.csv`, and a PNG where a slice flipped, for every artifact; the files written."""
    written = []
    for artifact in dict.fromkeys(verdict.candidate.artifact.name for verdict in verdicts):
        of_it = [verdict for verdict in verdicts if verdict.candidate.artifact.name == artifact]
        flips = [(verdict.candidate.target, flip) for verdict in of_it for flip in _ordered(verdict.flips)]
        table = folder / f"gate-{artifact}-flipped.csv"
        write_text(table, _table(flips))
        written.append(table)
        sheet = folder / f"gate-{artifact}-flipped.png"
        sheet.unlink(missing_ok=True)  # of an earlier export
        if flips:
            with atomic_path(sheet) as temporary:
                _sheet(artifact, flips).save(temporary, format="PNG")
            written.append(sheet)
    return written


def _ordered(flips: Sequence[Flip]) -> list[Flip]:
    def change(flip: Flip) -> float:
        return max(abs(a - o) for o, a in zip(flip.p_original, flip.p_artifact, strict=True))

    return sorted(flips, key=lambda flip: (not flip.lesion_lost, -change(flip), flip.slice.name))


def _table(flips: Sequence[tuple[str, Flip]]) -> str:
    head = ["slice", "patient", "runtime", "target", "original", "artifact", "lesion_lost"]
    rows = [
        [flip.slice.name, flip.slice.patient, runtime, flip.slice.target]
        + [flip.original, flip.artifact, int(flip.lesion_lost)]
        + [f"{p:.6f}" for p in (*flip.p_original, *flip.p_artifact)]
        for runtime, flip in flips
    ]
    head += [f"p{label}_{which}" for which in ("original", "artifact") for label in range(3)]
    return csv_text([head, *rows])


def _sheet(artifact: str, flips: Sequence[tuple[str, Flip]]) -> Image.Image:
    shown = flips[:MOST]
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (TILE + 8) + 8, HEAD + rows * (TILE + TEXT + 8)), 16)
    draw = ImageDraw.Draw(sheet)
    more = f", the first {MOST} shown" if len(flips) > MOST else ""
    name = printable(artifact)
    draw.text((8, 6), f"{name}: {len(flips)} flipped slices{more} (true class: original > artifact)", fill=255)
    draw.text((8, 22), DISCLAIMER, fill=160)
    for index, (runtime, flip) in enumerate(shown):
        x, y = 8 + index % COLUMNS * (TILE + 8), HEAD + index // COLUMNS * (TILE + TEXT + 8)
        middle = flip.slice.picture[len(flip.slice.picture) // 2]
        sheet.paste(Image.fromarray(middle).resize((TILE, TILE), Image.Resampling.BOX), (x, y))
        verdict = f"{flip.slice.target}: {flip.original} > {flip.artifact}"
        p = f"p {max(flip.p_original):.3f} > {max(flip.p_artifact):.3f}"
        draw.text((x, y + TILE + 2), printable(flip.slice.name)[:25], fill=230)
        draw.text((x, y + TILE + 15), f"{verdict}{'  LESION LOST' if flip.lesion_lost else ''}", fill=255)
        draw.text((x, y + TILE + 28), f"{p}  {printable(runtime.split(' ')[0])[:12]}", fill=160)
    return sheet
