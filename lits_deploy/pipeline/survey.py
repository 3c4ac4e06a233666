"""A survey of scans: headers read by decode workers, under the limits of a run, without a network.

With `pixels`, slices are decoded as in a run, so that what only the pixels tell (an empty slice, a mask) is told, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from lits_deploy.ledger import PendingFile
from lits_deploy.pipeline.fetch import fetch
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.workers import Held, Job, Tag
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.picture_series import place_of
from lits_deploy.scans.survey import Survey

_ANY_WINDOW = (-160.0, 240.0)  # no gate depends on it


def survey_folder(
    roots: Sequence[Path],
    options: ClassifyOptions,
    *,
    pixels: bool = False,
    on_file: Callable[[Survey], None] = lambda _: None,
) -> Survey:
    """What lies below `roots`. options: `recursive`, `follow_links` and what `fetch` takes count.
    on_file: called after every file. Raises UserError where there is nothing."""
    discovery = Discovery(roots, recursive=options.recursive, follow_links=options.follow_links)
    survey = Survey()
    told: defaultdict[Job, list[tuple[int, float | None, str | None]]] = defaultdict(list)

    def on_slice(tag: Tag, _pixels: npt.NDArray[Any]) -> None:
        told[tag.job].append((tag.attempt, tag.position, None))
        on_done(tag.job)

    def on_held(held: Held) -> None:
        told[held.job].append((held.attempt, held.position, held.reason))

    def on_done(job: Job) -> None:
        """Take a file once all its slices are told: those with pixels come after the word that it is done."""
        slices = [(position, why) for attempt, position, why in told[job] if attempt == job.deaths]
        if job.reason is None and (job.total is None or len(slices) < job.total):
            return
        del told[job]
        series = job.series
        if job.kind == "picture" and job.reason is None:
            series, number = place_of(job.name)
            slices = [(number, why) for _, why in slices]
        survey.add(job.name, series, slices, job.reason)
        on_file(survey)

    fetch(
        _jobs(discovery, survey, headers=not pixels),
        InputContract(window_hu=_ANY_WINDOW if pixels else None),
        options,
        on_slice=on_slice,
        on_held=on_held,
        on_done=on_done,
        within=discovery.within,
    )
    survey.others = discovery.others
    if not survey.files:
        raise UserError(
            f"No scans {discovery.where}: looked for DICOM, NIfTI, PNG and JPEG, also in zips.",
            fix="name another folder",
        )
    return survey


def _jobs(discovery: Discovery, survey: Survey, *, headers: bool) -> Iterator[Job]:
    for number, found in enumerate(discovery):
        if found.reason is not None:
            survey.add(found.path, None, failure=found.reason)
            continue
        row = PendingFile(number, found.path, found.path, found.kind, found.container, found.member, found.mtime_ns)
        yield Job.of(row, discovery.real_path, headers=headers)
