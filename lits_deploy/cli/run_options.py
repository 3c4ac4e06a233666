"""What several commands have in common: options, the progress of a run, and names joined by commas.

Typer reads an option from a parameter's default, so the same object serves every command that has it; options that only
commands of `train` share stand in `train/cli/options.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_type_hints

import typer

from lits_deploy.cli.locations import ENDPOINT, use_endpoint
from lits_deploy.errors import UserError
from lits_deploy.storage import PathOrUrl

if TYPE_CHECKING:  # a command's help needs no pipeline
    from rich.progress import Progress as Bar

    from lits_deploy.bundle import Bundle
    from lits_deploy.pipeline.options import ClassifyOptions, Progress
    from lits_deploy.pipeline.stop import Stop

R = TypeVar("R")
Made = TypeVar("Made")

SCANS = typer.Argument(..., help="Folders, files and zips, also s3://…: DICOM, NIfTI, PNG and JPEG.")
SCANS_OR_JOB = typer.Argument(
    None, help="Folders, files and zips, also s3://…: DICOM, NIfTI, PNG and JPEG. None with --job."
)
BUNDLE = typer.Argument(..., help="Bundle to use, as `lits-deploy export` makes them: folder or zip, also s3://….")
AS_JSON = typer.Option(False, "--json", help="Print the result as one JSON document; all else goes to standard error.")
SEGMENTER = typer.Option(
    None, metavar="BUNDLE", help="Outline liver and lesions in the report's pictures with this U-Net."
)
OUT = typer.Option(
    None, metavar="PATH", help="Folder of the results, run.json and ledger; s3://… with --ledger. [default: results]"
)
MASKS = typer.Option("png", help="Formats of masks: png, nifti, dicom-seg, joined by commas.")


class RunOptions:
    """Options of a run, in the order of its help, named as the fields of `ClassifyOptions` are."""

    runtime: str = typer.Option(
        "auto", help="auto, onnxruntime, openvino or tensorrt; auto: openvino on a CPU that has it."
    )
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N. A device that is not there is an error.")
    precision: str | None = typer.Option(
        None,
        help="fp32, fp16 or int8: the bundle's file of that precision for the runtime in use; tf32: the FP32 file,"
        " multiplied in TF32 on an NVIDIA GPU (Ampere or later). [default: fp32]",
    )
    artifact: str | None = typer.Option(None, help="In place of --precision: a model file of the bundle by its name.")
    batch_size: int | None = typer.Option(None, min=1, help="Slices in a batch. [default: 8 on a CPU, 32 on a GPU]")
    workers: int | None = typer.Option(
        None, min=1, help="Decode processes. [default: cores less one, 1 to 4; more are added while the network waits]"
    )
    threads: int = typer.Option(0, min=0, help="CPU threads of the network; 0: every core.")
    tune: bool = typer.Option(
        False, "--tune", help="Measure which batch size and threads are fastest here, and remember it for this bundle."
    )
    recursive: bool = typer.Option(True, help="Also look into subfolders.")
    follow_links: bool = typer.Option(
        False, "--follow-links", help="Also follow links that lead out of the named folders."
    )
    ignore: list[str] | None = typer.Option(
        None,
        "--ignore",
        metavar="PATTERN",
        help="Acknowledge failures of files whose path matches: they stay in the tables, but do not cause exit code 1.",
    )
    ignore_none: bool = typer.Option(False, "--ignore-none", help="Forget the patterns stored in OUT.")
    allow_removed: bool = typer.Option(
        False, "--allow-removed", help="Continue even if scans with results seem to be gone, and drop those results."
    )
    formats: str = typer.Option("csv", "--format", help="Formats of tables: csv, parquet, jsonl, joined by commas.")
    overwrite: bool = typer.Option(False, "--overwrite", help="Drop the results of another run from OUT.")
    retry_failed: bool = typer.Option(False, "--retry-failed", help="Retry failed files even if they have not changed.")
    abstain: bool = typer.Option(True, help="Give no class to a slice that the bundle's threshold calls unsure.")
    operating_point: str | None = typer.Option(
        None,
        metavar="RULE",
        help="Rule by which a slice is called a lesion: argmax, balanced, sensitivity=S or specificity=S, if the bundle"
        " has a threshold for it (`bundle inspect`). [default: the bundle's]",
    )
    identify: bool = typer.Option(False, "--identify", help="Write patients and UIDs in clear text, not as hashes.")
    pseudonymous: bool = typer.Option(
        False, "--pseudonymous", help="Write salted hashes in place of file paths and of files' SHA-256."
    )
    salt: str | None = typer.Option(
        None,
        help="Salt of the hashes, so that runs compare. Other users of the machine see it in `ps`, and a short one"
        " can be guessed: prefer --salt-file. [default: random, stored in OUT]",
    )
    any_body_part: bool = typer.Option(
        False, "--any-body-part", help="Accept slices whose DICOM header names a body region other than the trunk."
    )
    trust: str | None = typer.Option(
        None,
        metavar="sform|qform",
        help="Orientation to use if the two of a NIfTI file disagree. [default: exclude the file]",
    )
    salt_file: Path | None = typer.Option(
        None,
        help="File with the salt, for its owner alone (mode 600); it may lie outside OUT and serve several runs.",
    )
    group_readable: bool | None = typer.Option(
        None,
        "--group-readable/--no-group-readable",
        help="Let the group read OUT (0750, 0640), not only its owner (0700, 0600). [default: as OUT was]",
    )
    time_limit_s: float = typer.Option(30.0, "--time-limit", help="Seconds that decoding one file may take.")
    memory_limit_mib: int = typer.Option(
        1024, "--memory-limit", help="MiB that decoding a file, loading the network or one slice in it may take."
    )
    ledger: Path | None = typer.Option(None, help="Local folder for the ledger, if OUT is on a network share.")
    engine_cache: Path | None = typer.Option(
        None,
        help="With TensorRT: folder of engines. [default: $LITS_DEPLOY_ENGINE_CACHE or ~/.cache/lits-deploy/engines]",
    )
    endpoint: str | None = ENDPOINT


def with_run(*lacks: str, **own: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A command whose parameter `options` is made of the options in `RunOptions`, which the command line shows.

    lacks: names of those that it has not; own: what it has in place of some, by name.
    """
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=own.get(name, vars(RunOptions)[name]), annotation=kind
        )
        for name, kind in get_type_hints(RunOptions).items()
        if name not in lacks
    ]

    def extended(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def run(**given: Any) -> R:
            asked = {option.name: given.pop(option.name) for option in shared}
            use_endpoint(asked.pop("endpoint", None))
            return command(**given, options=of_command(asked))

        parameters = dict(inspect.signature(command).parameters)
        index = list(parameters).index("options")
        listed = [one for name, one in parameters.items() if name != "options"]
        vars(run)["__signature__"] = inspect.Signature([*listed[:index], *shared, *listed[index:]])
        run.__annotations__ = {name: kind for name, kind in command.__annotations__.items() if name != "options"}
        return run

    return extended


def of_command(given: Mapping[str, Any]) -> ClassifyOptions:
    """The options of a run, from what the command line gave; those that a command has not keep their defaults."""
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.scans import Reading

    reading = filled(Reading, given)
    lists: dict[str, Any] = {}
    if "formats" in given:
        lists["formats"] = names(given["formats"])
    if "ignore" in given:
        lists["ignore"] = tuple(given["ignore"] or ())
    return filled(ClassifyOptions, {**given, **lists, "reading": reading})


def filled(kind: Callable[..., Made], given: Mapping[str, Any]) -> Made:
    """A dataclass from what bears the names of its fields, such as a command's `locals()`; the rest is left out."""
    return kind(**{field.name: given[field.name] for field in fields(cast(Any, kind)) if field.name in given})


def bundle_and_scans(bundle: Path, scans: Sequence[PathOrUrl], called: str = "SCANS") -> Bundle:
    """The bundle, opened. Raises UserError where the two arguments stand in each other's place. called: the second."""
    from lits_deploy.bundle import Bundle
    from lits_deploy.bundle_zip import looks_like_bundle

    paths = [one for one in scans if isinstance(one, Path)]
    swapped = bundle.exists() and not looks_like_bundle(bundle) and any(map(looks_like_bundle, paths))
    if swapped:
        raise UserError(f"BUNDLE and {called} are swapped.", fix=f"the bundle comes first, then {called}")
    return Bundle.open(bundle)


def names(text: str) -> tuple[str, ...]:
    """Names joined by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def progress_shown(bar: Bar, name: str, stop: Stop, *, last: str = "") -> Callable[[Progress], None]:
    """An `on_progress` that draws a run on a bar. last: what is done once every file has been answered."""
    task = bar.add_task(name, total=None, rate=0.0, note="loading", unit="slices")
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
        bar.update(task, completed=progress.done, rate=rate, note=note, failed=progress.failed)

    return show
