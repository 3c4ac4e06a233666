"""An export as one function, with the defaults of `lits-deploy export`, and nothing printed."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from export.choices import Checkpoint, Flips, Networks
from lits_deploy.bundle import Bundle
from lits_deploy.cli.extras import needs
from lits_deploy.operating_point import ARGMAX, parse_rule

if TYPE_CHECKING:
    from export.precision.add import WantedPrecisions
    from export.progress import ExportProgress


def export(
    run: str | PathLike[str],
    out: str | PathLike[str],
    *,
    networks: Networks | None = None,
    checkpoint: Checkpoint | None = None,
    data: str | PathLike[str] | None = None,
    window: tuple[float, float] | None = None,
    operating_point: str = ARGMAX,
    flips: Flips = "none",
    cam: bool | None = None,
    wanted: WantedPrecisions | None = None,
    overwrite: bool = False,
    observer: ExportProgress | None = None,
) -> Bundle:
    """Make the bundle `out` of a training run; it appears in one rename, after the parity gate has passed.

    networks: of a folded run: best, average or all. checkpoint: best by validate, or last. data: the data set, where it
    is not where the run was trained. window: in HU, where the run recorded none. operating_point: argmax, balanced,
    sensitivity=S or specificity=S. cam: with the class-activation map [where the network has one]. wanted: other
    precisions, such as `export.precision.add.WantedPrecisions(int8=True)`. observer: follows the progress.
    Raises DataError, OutputError where `out` exists, ParityError where graph and original differ, UserError,
    MissingExtra without PyTorch.
    """
    rule = parse_rule(operating_point)
    with needs("export"):
        from export.open_run import as_asked, original_of
        from export.run import export as made
    there = None if data is None else Path(data)
    original = original_of(Path(run), networks=networks, checkpoint=checkpoint, data=there)
    original = as_asked(original.with_window(window), rule=rule, flips=flips, cam=cam)
    return made(original, Path(out), overwrite=overwrite, wanted=wanted, operating_point=rule, observer=observer)
