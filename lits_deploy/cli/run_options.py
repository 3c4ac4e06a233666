"""What several commands have in common: options, the progress of a run, and names joined by commas.

Typer reads an option from a parameter's default, so the same object serves every command that has it; options that only
commands of `train` share stand in `train/cli/options.py`. Parameters of `classify`,
`segment` and `watch` are named as the fields of `ClassifyOptions` are: `of_command` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy.errors import UserError

if TYPE_CHECKING:  # a command's help needs no pipeline
    from rich.progress import Progress as Bar

    from lits_deploy.bundle import Bundle
    from lits_deploy.pipeline.options import ClassifyOptions, Progress
    from lits_deploy.pipeline.stop import Stop

SCANS = typer.Argument(..., help="Folders, files and zips: DICOM, NIfTI, PNG and JPEG.")
RUNTIME = typer.Option("auto", help="auto, onnxruntime, openvino or tensorrt; auto: openvino on a CPU that has it.")
DEVICE = typer.Option("auto", help="auto, cpu, cuda or cuda:N. A device that is not there is an error.")
PRECISION = typer.Option(
    None,
    help="fp32, fp16 or int8: the bundle's file of that precision for the runtime in use; tf32: the FP32 file,"
    " multiplied in TF32 on an NVIDIA GPU (Ampere or later). [default: fp32]",
)
ARTIFACT = typer.Option(None, help="In place of --precision: a model file of the bundle by its name.")
BATCH_SIZE = typer.Option(None, min=1, help="Slices in a batch [8 on a CPU, 32 on a GPU].")
WORKERS = typer.Option(
    None, min=1, help="Decode processes [cores less one, 1 to 4; more are added while the network waits]."
)
THREADS = typer.Option(0, min=0, help="CPU threads of the network; 0: every core.")
TUNE = typer.Option(
    False, "--tune", help="Measure which batch size and threads are fastest here, and remember it for this bundle."
)
RECURSIVE = typer.Option(True, help="Look into folders below.")
TABLES_HELP = "Tables to write: csv, parquet, jsonl, joined by commas."
FOLLOW_LINKS = typer.Option(False, "--follow-links", help="Also follow links that lead out of the named folders.")
ALLOW_REMOVED = typer.Option(
    False, "--allow-removed", help="Continue even if scans with results seem to be gone, and drop those results."
)
IGNORE = typer.Option(
    None,
    "--ignore",
    metavar="PATTERN",
    help="Acknowledge failures of files whose path matches: rows, no exit 1.",
)
IGNORE_NONE = typer.Option(False, "--ignore-none", help="Forget the patterns kept in OUT.")
OVERWRITE = typer.Option(False, "--overwrite", help="Drop the results of another run from OUT.")
RETRY_FAILED = typer.Option(False, "--retry-failed", help="Try failed files again that have not changed.")
ABSTAIN = typer.Option(True, help="Give no class to a slice that the bundle's threshold calls unsure.")
IDENTIFY = typer.Option(False, "--identify", help="Write patients and UIDs in clear, not as hashes.")
PSEUDONYMOUS = typer.Option(
    False, "--pseudonymous", help="Write salted hashes in place of file paths and of files' SHA-256."
)
SALT = typer.Option(
    None,
    help="Of the hashes, so that runs compare. [default: random, kept in OUT] Other users of the machine see it in"
    " `ps`, and a short one can be guessed: prefer --salt-file.",
)
SALT_FILE = typer.Option(
    None, help="File that holds the salt, for its owner alone (mode 600); it may lie outside OUT and serve several."
)
GROUP_READABLE = typer.Option(
    None,
    "--group-readable/--no-group-readable",
    help="Let the files' group read OUT (0750, 0640), not its owner alone (0700, 0600). [default: as OUT was]",
)
ANY_BODY_PART = typer.Option(
    False, "--any-body-part", help="Take slices whose DICOM header names another region than the trunk."
)
TRUST = typer.Option(
    None, metavar="sform|qform", help="Orientation to use where a NIfTI file's two disagree. [default: exclude it]"
)
TIME_LIMIT = typer.Option(30.0, "--time-limit", help="Seconds that decoding one file may take.")
MEMORY_LIMIT = typer.Option(
    1024, "--memory-limit", help="MiB that decoding a file, loading the network or one slice in it may take."
)
AS_JSON = typer.Option(False, "--json", help="Print JSON.")
ENGINE_CACHE = typer.Option(
    None,
    help="With TensorRT: folder of engines. [default: $LITS_DEPLOY_ENGINE_CACHE or ~/.cache/lits-deploy/engines]",
)
LEDGER = typer.Option(None, help="Local folder for the ledger, where OUT is on a network share.")
SEGMENTER = typer.Option(
    None, metavar="UNET_BUNDLE", help="Outline liver and lesions in the report's pictures with this U-Net."
)


def of_command(given: Mapping[str, Any]) -> ClassifyOptions:
    """The options of a run, from a command's parameters (its `locals()`); those that it has not keep their defaults."""
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.scans import Reading

    named = {field.name: given[field.name] for field in fields(ClassifyOptions) if field.name in given}
    named["formats"] = names(given["formats"])
    named["ignore"] = tuple(given["ignore"] or ())
    named["reading"] = Reading(any_body_part=given["any_body_part"], trust=given["trust"])
    return ClassifyOptions(**named)


def bundle_and_scans(bundle: Path, scans: Sequence[Path]) -> Bundle:
    """The bundle, opened. Raises UserError where the two arguments stand in each other's place."""
    from lits_deploy.packed import looks_like_bundle, open_bundle

    swapped = bundle.exists() and not looks_like_bundle(bundle) and any(map(looks_like_bundle, scans))
    if swapped:
        raise UserError("BUNDLE and SCANS are swapped.", fix="the bundle comes first, then the scans")
    return open_bundle(bundle)


def names(text: str) -> tuple[str, ...]:
    """Names joined by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def progress_shown(bar: Bar, name: str, stop: Stop, *, last: str = "") -> Callable[[Progress], None]:
    """An `on_progress` that draws a run on a bar. last: what is done once every file has been answered."""
    task = bar.add_task(name, total=None, rate=0.0, note="loading")
    shown = False

    def show(progress: Progress) -> None:
        nonlocal shown
        if not shown:  # so that the time left does not count what an earlier start of the run had done
            bar.reset(task, total=progress.files, completed=progress.done)
            shown = True
        note = progress.note or (f"{progress.failed} failed" if progress.failed else "")
        if stop.requested:
            note = "stopping after this batch"
        elif last and progress.done == progress.files:
            note = last
        rate = progress.slices / progress.seconds if progress.seconds else 0.0
        bar.update(task, completed=progress.done, rate=rate, note=note)

    return show
