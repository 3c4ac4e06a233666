"""What follows a run that has answered its slices: pictures of the suspicious ones, and report.html.

A shard of a plan (`lits_deploy.sharding`) has the pictures alone: who merges them draws the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lits_deploy.bundle import Bundle
from lits_deploy.decode.decoding import StoppedError
from lits_deploy.events.emit import phase
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.output import REPORT
from lits_deploy.report.page import write_page
from lits_deploy.report.picture_pass import cam_overlay, check_segmenter, draw_pictures, label_overlay


def reporter(
    bundle: Bundle,
    options: ClassifyOptions,
    *,
    segmenter: Bundle | None = None,
    say: Callable[[str], None] = lambda _: None,
    page: bool = True,
) -> Callable[[RunContext], Sequence[Path]]:
    """A `finish` for `run.run_folder`, with the same bundle and options; without `page` it makes the pictures alone.

    segmenter: a U-Net that outlines liver and lesions in place of the class-activation map. say: gets what a user
    should know. Raises BundleError, ContractError for a segmenter that does not fit.
    """
    if segmenter is not None:
        check_segmenter(bundle, segmenter)

    def finish(run: RunContext) -> Sequence[Path]:
        if not run.stop.requested:
            if segmenter is not None:
                overlay = label_overlay(segmenter, options)
            else:
                overlay = cam_overlay(bundle, run.artifact, run.info, threads=options.threads)
            phase("pictures")
            try:
                draw_pictures(run, overlay, say=say)
            except StoppedError:
                say("Stopped before the report had its pictures: the same command draws them.")
        return [write_page(run.output.ledger, run.output.out / REPORT)] if page else []

    return finish
