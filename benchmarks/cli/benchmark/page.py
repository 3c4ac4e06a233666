"""`lits-deploy benchmark page A B … --out FILE`: several benchmarks on one page, with the frontier over all of them."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def page(
    benchmarks: list[Path] = typer.Argument(..., help="benchmark.json files, or the folders that hold them."),
    out: Path = typer.Option(Path("benchmarks.html"), help="The page to write."),
) -> None:
    """Draw benchmarks of several bundles on one self-contained page: speed and accuracy of all, and their frontier."""
    from benchmarks.page import page as draw
    from benchmarks.report_files import read_benchmark
    from lits_deploy import DISCLAIMER
    from lits_deploy.cli.console import console
    from lits_deploy.errors import OutputError
    from lits_deploy.files import write_text

    documents = [read_benchmark(path) for path in benchmarks]
    try:
        write_text(out, draw(documents))
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror or error}).", fix="give another --out") from error
    console.print(f"→ {out}")
    console.print(DISCLAIMER)
