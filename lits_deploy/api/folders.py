"""Folders of scans: what the commands `classify`, `segment` and `scan` do, with nothing printed.

`lits-deploy classify` calls `classify_folder`; `segment` and `scan` call what the other two call. What they print is in
what these return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import fspath
from typing import TYPE_CHECKING

from lits_deploy.api.parameters import parameters_named
from lits_deploy.api.paths import AnyPath, Scans, bundle_of, options_of, results_in, roots_of
from lits_deploy.bundle import Bundle
from lits_deploy.fetched_bundle import local_bundle
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions, Progress, RunSummary
from lits_deploy.pipeline.output import REPORT
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.report.finish import drawn_after
from lits_deploy.report.peaks import Peaks
from lits_deploy.storage import path_or_url

if TYPE_CHECKING:  # a night's run has no room for readers and masks that it does not need
    from lits_deploy.scans.survey import Survey
    from lits_deploy.segmentation.run import SegmentSummary


@parameters_named()
def classify_folder(
    bundle: Bundle | AnyPath,
    scans: Scans,
    out: AnyPath,
    *,
    device: str = "auto",
    options: ClassifyOptions | None = None,
    report: bool = True,
    segmenter: AnyPath | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
) -> RunSummary:
    """Classify scans as `lits-deploy classify` does: tables, run.json, ledger and report.html in the folder `out`.

    `out` may be s3://…, with options.ledger on this machine: results are written beside the ledger, and uploaded at the
    end; the summary has their paths here.

    Interrupted or killed, the same call goes on where it was. report: write report.html. segmenter: path of a U-Net's
    bundle that outlines liver and lesions in it. on_progress: called in this thread, at most ten times a second.
    stop: lets another thread end the run in good order. What a user should know is in the summary's `warnings`.
    Raises UserError for everything the caller can mend (bundle, device, folders); a bad file is a row.
    """
    chosen, said = options_of(options, device), list[str]()
    results = results_in(out, chosen)
    folder = results.folder
    opened, unet = bundle_of(bundle), None if segmenter is None else local_bundle(path_or_url(fspath(segmenter)))
    finish = drawn_after(opened, chosen, report, unet, said.append)
    summary = run_folder(
        opened,
        roots_of(scans),
        folder,
        options=chosen,
        hooks=RunHooks(stop=stop or Stop(), on_progress=on_progress, keep=Peaks if report else None, finish=finish),
    )
    page = folder / REPORT
    if not report and page.exists() and (summary.now or summary.added or summary.removed):
        said.append(f"{page} shows an earlier state: --no-report does not update it. Fix: lits-deploy report {folder}")
    results.send()
    return replace(summary, warnings=(*summary.warnings, *said))


@parameters_named()
def segment_folder(
    bundle: Bundle | AnyPath,
    scans: Scans,
    out: AnyPath,
    *,
    masks: Sequence[str] = ("png",),
    device: str = "auto",
    options: ClassifyOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
) -> SegmentSummary:
    """Segment scans as `lits-deploy segment` does: masks, volumes and tables in the folder `out`.

    masks: formats out of png, nifti and dicom-seg. The rest as for `classify_folder`.
    """
    from lits_deploy.segmentation.run import segment_folder as segment_into

    chosen = options_of(options, device)
    results = results_in(out, chosen)
    summary = segment_into(
        bundle_of(bundle),
        roots_of(scans),
        results.folder,
        masks=masks,
        options=chosen,
        hooks=RunHooks(stop=stop or Stop(), on_progress=on_progress),
    )
    results.send()
    return summary


@parameters_named()
def scan(scans: Scans, *, pixels: bool = False, options: ClassifyOptions | None = None) -> Survey:
    """What lies in scans, and what would be excluded and why, as `lits-deploy scan` finds it; no model is needed.

    pixels: decode the slices, too: finds empty ones and masks. options: those about finding and reading files count.
    `to_json()` of the survey names no patient. Raises UserError where there are no scans.
    """
    from lits_deploy.pipeline.survey import survey_folder

    return survey_folder(roots_of(scans), options or ClassifyOptions(), pixels=pixels)
