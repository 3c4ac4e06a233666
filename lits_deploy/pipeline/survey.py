"""A survey of scans: headers read by decode workers, under the limits of a run, without a network.

With `pixels`, slices are decoded as in a run, so that what only the pixels show (an empty slice, a mask) counts, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lits_deploy.contract import InputContract
from lits_deploy.decode.decoding import Decoding
from lits_deploy.decode.job import DecodeJob
from lits_deploy.ledger import PendingFile
from lits_deploy.pipeline.naming import series_of, slice_header_of
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans.fetch import is_object
from lits_deploy.scans.listing import Listing, no_scans
from lits_deploy.scans.roots import list_scans
from lits_deploy.scans.survey import Survey, SurveyedSlice
from lits_deploy.storage import PathOrUrl

_ANY_WINDOW = (-160.0, 240.0)  # no gate depends on it


def survey_folder(
    roots: Sequence[PathOrUrl],
    options: ClassifyOptions,
    *,
    pixels: bool = False,
    on_file: Callable[[Survey], None] = lambda _: None,
) -> Survey:
    """What lies below `roots`. options: `recursive`, `follow_links` and what decoding takes count.
    on_file: called after every file. Raises UserError where there is nothing."""
    listing = list_scans(roots, recursive=options.recursive, follow_links=options.follow_links)
    survey = Survey()
    contract = InputContract(window_hu=_ANY_WINDOW if pixels else None)
    with Decoding(options.decoding(contract, listing.within, objects=is_object(listing.base)), Stop()) as decoding:
        for end, frames in decoding.files(_jobs(listing, survey, headers=not pixels)):
            job = end.job
            series = None if job.kind == "picture" and end.reason is not None else series_of(job, end.series)
            slices = [
                SurveyedSlice(one.index, slice_header_of(job, one.header), one.excluded, one.checksum) for one in frames
            ]
            survey.add(job.name, series, slices, end.reason, end.sha256)
            on_file(survey)
    survey.others = listing.others
    if not survey.files:
        raise no_scans(listing)
    return survey


def _jobs(listing: Listing, survey: Survey, *, headers: bool) -> Iterator[DecodeJob]:
    for number, found in enumerate(listing):
        if found.reason is not None:
            survey.add(found.path, None, failure=found.reason)
            continue
        row = PendingFile(number, found.path, found.path, found.kind, found.container, found.member, found.mtime_ns)
        yield DecodeJob.of(row, listing.real_path, headers=headers)
