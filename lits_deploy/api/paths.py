"""What callers name: bundles, scans and output folders, as texts or paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath

from lits_deploy.bundle import Bundle
from lits_deploy.errors import UserError
from lits_deploy.fetched_bundle import local_bundle
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.storage import PathOrUrl, path_or_url
from lits_deploy.storage.results import ResultsFolder

AnyPath = str | PathLike[str]

Scans = AnyPath | Sequence[AnyPath]
"""A folder, file or zip, also `s3://…`, or several of them."""


def bundle_of(bundle: Bundle | AnyPath) -> Bundle:
    """The bundle, opened if it is a path; one at `s3://…` is fetched. Raises BundleError, StorageError."""
    return bundle if isinstance(bundle, Bundle) else Bundle.open(local_bundle(path_or_url(fspath(bundle))))


def roots_of(scans: Scans) -> list[PathOrUrl]:
    """What `run_folder` takes. Raises UserError for no scans at all."""
    several = [scans] if isinstance(scans, str | PathLike) else list(scans)
    if not several:
        raise UserError("No scans were named.", fix="name a folder, a file or a zip")
    return [path_or_url(fspath(one)) for one in several]


def results_in(out: AnyPath, options: ClassifyOptions) -> ResultsFolder:
    """Where results are to be written. Raises as `ResultsFolder`."""
    return ResultsFolder(path_or_url(fspath(out)), options.ledger, overwrite=options.overwrite)


def options_of(options: ClassifyOptions | None, device: str) -> ClassifyOptions:
    """The options, with the device, unless that is `auto`."""
    chosen = options or ClassifyOptions()
    return chosen if device == "auto" else replace(chosen, device=device)
