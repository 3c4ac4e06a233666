"""`lits-deploy watch`: an inbox is classified study by study; a line for each on standard output, notes beside it."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def watch(
    inbox: Path = typer.Argument(..., help="Folder in which studies arrive, each as a folder, zip or file."),
    bundle: Path = typer.Option(..., help="Bundle to use, as `lits-deploy export` makes them."),
    out: Path = typer.Option(Path("results"), help="Folder for tables, report, run.json and ledger; not in the inbox."),
    quiet_s: float = typer.Option(
        30.0, "--quiet-s", min=0.0, help="Seconds without a change after which a study counts as complete."
    ),
    poll: bool = typer.Option(
        False, "--poll", help="Look again and again instead of waiting for notices; so on network shares in any case."
    ),
    runtime: str = typer.Option(
        "auto", help="auto, onnxruntime, openvino or tensorrt; auto: openvino on a CPU that has it."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N. A device that is not there is an error."),
    precision: str | None = typer.Option(
        None, help="fp32, fp16 or int8: the bundle's file of that precision for the runtime in use. [default: fp32]"
    ),
    artifact: str | None = typer.Option(None, help="In place of --precision: a model file of the bundle by its name."),
    batch_size: int | None = typer.Option(None, min=1, help="Slices in a batch [8 on a CPU, 32 on a GPU]."),
    workers: int | None = typer.Option(None, min=1, help="Decode processes [cores less one, 1 to 4]."),
    threads: int = typer.Option(0, min=0, help="CPU threads of the network; 0: every core."),
    formats: str = typer.Option("csv", "--format", help="Tables to write: csv, parquet, jsonl, joined by commas."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Drop the results of another run from OUT."),
    abstain: bool = typer.Option(True, help="Give no class to a slice that the bundle's threshold calls unsure."),
    identify: bool = typer.Option(False, "--identify", help="Write patients and UIDs in clear, not as hashes."),
    pseudonymous: bool = typer.Option(False, "--pseudonymous", help="Write hashes of file paths, not the paths."),
    salt: str | None = typer.Option(None, help="Of the hashes, so that runs compare. [default: random, kept in OUT]"),
    time_limit: float = typer.Option(30.0, help="Seconds that decoding one file may take."),
    memory_limit: int = typer.Option(1024, help="MiB that decoding one file may take."),
    ledger: Path | None = typer.Option(None, help="Local folder for the ledger, where OUT is on a network share."),
    report: bool = typer.Option(True, help="Draw report.html after every study."),
) -> None:
    """Classify the studies of an inbox, each once it is complete, until Ctrl-C.

    A study is an entry of the inbox. Results of a study stay while another one arrives, and after it has been moved
    away; `lits-deploy classify BUNDLE INBOX --out OUT` keeps only what is there. Killed, the same command goes on.
    Exit codes: 0 stopped between two studies, 130 stopped within one, 2 an error to mend.
    """
    from lits_deploy import DISCLAIMER
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, errors
    from lits_deploy.pipeline.after import reporter
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.watch.service import Talk, watch_folder

    options = ClassifyOptions(
        runtime=runtime,
        device=device,
        artifact=artifact,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        threads=threads,
        formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
        overwrite=overwrite,
        abstain=abstain,
        identify=identify,
        pseudonymous=pseudonymous,
        salt=salt,
        time_limit_s=time_limit,
        memory_limit_mib=memory_limit,
        ledger=ledger,
    )
    talk = Talk(
        study=lambda line: console.print(str(line), markup=False),
        note=lambda note: errors.print(note, markup=False),
    )
    opened = Bundle.open(bundle)
    finish = reporter(opened, options, say=talk.note) if report else None
    errors.print(DISCLAIMER, markup=False)
    with stop_on_signals() as stop:
        summary = watch_folder(
            opened, inbox, out, options=options, quiet_s=quiet_s, poll=poll, stop=stop, talk=talk, finish=finish
        )
    errors.print("Stopped: the same command goes on from here.", markup=False)
    raise typer.Exit(130 if summary.stopped else 0)
