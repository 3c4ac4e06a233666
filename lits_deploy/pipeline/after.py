"""What follows a run that has answered its slices: pictures of the suspicious ones, and report.html."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.output import REPORT
from lits_deploy.pipeline.pictures import cam_overlay, check_segmenter, draw_pictures, label_overlay
from lits_deploy.pipeline.run import Finished
from lits_deploy.report.page import write_page


def reporter(
    bundle: Bundle,
    options: ClassifyOptions,
    *,
    segmenter: Bundle | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Callable[[Finished], Sequence[Path]]:
    """A `finish` for `run.run_folder`, with the same bundle and options.

    segmenter: a U-Net that outlines liver and lesions in place of the class-activation map. say: gets what a user
    should know. Raises BundleError, ContractError for a segmenter that does not fit.
    """
    if segmenter is not None:
        check_segmenter(bundle, segmenter)

    def finish(run: Finished) -> Sequence[Path]:
        ledger = run.output.ledger
        if not run.stop.requested:
            opened = run.loop.opened
            assert opened is not None
            run.loop.pool.close()  # decoders and a network of their own follow: no need to hold both
            run.loop.inference.close(wait=True)
            if segmenter is not None:
                overlay = label_overlay(segmenter, options)
            else:
                overlay = cam_overlay(bundle, run.artifact, opened.info, threads=options.threads)
            try:
                draw_pictures(
                    ledger,
                    run.discovery,
                    overlay,
                    bundle.manifest.contract,
                    options=options,
                    stop=run.stop,
                    kept={} if run.loop.kept is None else run.loop.kept.pixels,
                    say=say,
                )
            except KeyboardInterrupt:
                say("Stopped before the report had its pictures: the same command draws them.")
        return [write_page(ledger, run.output.out / REPORT)]

    return finish
