"""`lits-deploy benchmark page A B … --out FILE`: several benchmarks on one page, with the frontier over all of them."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy.cli import run_options


def page(
    benchmarks: list[Path] = typer.Argument(
        ..., metavar="BENCHMARK", help="benchmark.json files, or the folders that hold them."
    ),
    out: Path = typer.Option(Path("benchmarks.html"), help="Page to write."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Draw benchmarks of several bundles on one self-contained page: speed and accuracy of all, and their frontier."""
    from benchmarks.page import page as draw
    from benchmarks.report_files import read_benchmark, writing
    from lits_deploy import DISCLAIMER
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.files import write_text

    documents = [read_benchmark(path) for path in benchmarks]
    with writing(out):
        write_text(out, draw(documents))
    if as_json:
        print_json({"page": str(out), "disclaimer": DISCLAIMER})
        return
    console.print(f"→ {out}")
    console.print(DISCLAIMER)
