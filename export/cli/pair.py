"""`lits-deploy bundle pair CLASSIFIER UNET --runs RUN RUN --out PAIR`: two networks that decide together."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from lits_deploy.cli import logging_options, run_options
from lits_deploy.cli.bundle.inspect import to_json
from lits_deploy.cli.extras import needs
from lits_deploy.cli.lazy import exit_codes
from lits_deploy.operating_point import ARGMAX, FORMS


@exit_codes("0 done")
@logging_options.reported("bundle_pair")
def pair(
    classifier: Path = typer.Argument(..., help="A classifier's bundle, or its zip file."),
    unet: Path = typer.Argument(..., help="A U-Net's bundle for the same slices, or its zip file."),
    runs: tuple[Path, Path] = typer.Option(
        ...,
        metavar="RUN RUN",
        help="The two folded runs (`train --folds`) that they were exported from, the classifier's first; the "
        "lesion rule is fitted on their out-of-fold answers.",
    ),
    out: Path = typer.Option(..., help="Folder for the pair."),
    operating_point: str = typer.Option(
        ARGMAX, metavar="RULE", help=f"Rule by which a slice is called a lesion: {FORMS}."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a bundle at OUT."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Make one bundle of a classifier and a U-Net.

    The U-Net runs only on slices where the classifier does not rule out liver. A rule over both, fitted out of fold,
    decides what is a lesion and which series to look at first. Neither network is changed.
    """
    from lits_deploy import DISCLAIMER
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.operating_point import parse_rule, point_of, promised
    from lits_deploy.witnesses import PAIR, pair_lines

    with needs("export"):
        from export.pair.make import make_pair
    rule = parse_rule(operating_point)
    made = make_pair(
        Bundle.open(classifier), Bundle.open(unet), runs, out, rule=rule, overwrite=overwrite, say=console.print
    )
    if as_json:
        print_json(to_json(made, [], packed=False))
        return
    for line in pair_lines(made.manifest.metrics[PAIR]):
        console.print(f"  {line}")
    artifact = made.artifact()
    console.print(f"class 2 by {artifact.operating_point}: {promised(point_of(artifact), artifact.promise)}")
    console.print(f"→ {made.folder} (bundle {made.sha256[:12]}), verified here")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy classify {shlex.quote(str(made.folder))} SCANS")
