"""`s3://…` and `file://…` on the command line: scans, bundles, plans and results that lie elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy.storage import PathOrUrl, path_or_url

if TYPE_CHECKING:
    from lits_deploy.pipeline.options import ClassifyOptions

ENDPOINT = typer.Option(
    None,
    "--endpoint",
    metavar="URL",
    help="Object store of s3:// locations, if it is not Amazon's. [default: $AWS_ENDPOINT_URL_S3 or"
    " $AWS_ENDPOINT_URL] Credentials and region are found as the AWS libraries find them.",
)


def use_endpoint(endpoint: str | None) -> None:
    """Have this program, and the processes that it starts, go to that store."""
    if endpoint is not None:
        os.environ["AWS_ENDPOINT_URL_S3"] = endpoint


def scans_at(scans: Sequence[str] | None) -> list[PathOrUrl]:
    """Folders, files and objects that users named."""
    return [path_or_url(one) for one in scans or ()]


def bundle_at(bundle: str) -> Path:
    """Where a bundle lies on this machine; one in a store is fetched."""
    from lits_deploy.fetched_bundle import local_bundle

    return local_bundle(path_or_url(bundle))


@contextmanager
def results_at(out: str | None, options: ClassifyOptions) -> Iterator[tuple[Path, ClassifyOptions]]:
    """A folder of this machine to write results to, and the options to do so with.

    Where they are to lie in a store, they are put there at the end of the block, also at one by `typer.Exit`. The
    ledger stays on this machine.
    """
    from lits_deploy.cli.console import console
    from lits_deploy.storage.results import ResultsFolder

    where = path_or_url("results" if out is None else out)
    results = ResultsFolder(where, options.ledger, overwrite=options.overwrite)
    ended: typer.Exit | None = None
    try:
        yield results.folder, options
    except typer.Exit as error:
        ended = error
    if (sent := results.send()) is not None:
        gone = f", {sent.gone:,} taken away" if sent.gone else ""
        console.print(
            f"→ {where} ({sent.put:,} file{'' if sent.put == 1 else 's'} uploaded, {sent.same:,} there already{gone})"
        )
    if ended is not None:
        raise ended
