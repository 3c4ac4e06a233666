"""The network of a run: which of a bundle's files it is, how it is opened, and how its answers are read."""

from __future__ import annotations

from dataclasses import replace

from lits_deploy.backends import choose, open_runtime
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.contract import Task
from lits_deploy.errors import BundleError, ContractError
from lits_deploy.fusion import Fusion
from lits_deploy.operating_point import point_of
from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.decide import MaskDecider, PairDecider, SliceDecider
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import Runtime


def outputs_of(task: Task, artifact: Artifact) -> tuple[str, ...]:
    """The outputs that a task's answers are read from, fields of `runtime.Outputs`."""
    if task == "segment":
        return ("labels",)
    return ("logits", "counts") if artifact.fusion else ("logits",)


def suitable(bundle: Bundle, task: Task, options: ClassifyOptions) -> tuple[Artifact, ClassifyOptions]:
    """The artifact to use, and the options with the runtime and device that a precision settles.

    Raises BundleError, ContractError for a bundle that is for another task, or has no such operating point.
    """
    check_task(bundle, task)
    if options.precision is None:
        artifact = bundle.artifact(options.artifact)
    else:
        chosen = choose(bundle, options.precision, runtime=options.runtime, device=options.device)
        artifact, options = chosen.artifact, replace(options, runtime=chosen.runtime, device=chosen.device)
    point_of(artifact, options.operating_point)  # before anything is started: is there such a rule?
    return artifact, options


def check_task(bundle: Bundle, task: Task) -> None:
    """Raise BundleError, ContractError for a bundle that is for another task."""
    manifest = bundle.manifest
    if manifest.task != task:
        needed, does = ("classifier", "segments") if task == "classify" else ("U-Net", "classifies")
        raise BundleError(
            f"{bundle.folder} {does} ({manifest.model.get('name', 'unnamed')}); `{task}` needs a {needed}.",
            fix=f"export a {needed} (see `lits-deploy models`)",
        )
    if len(manifest.contract.classes) != 3:
        raise ContractError(f"`{task}` tells three classes.", fix="another bundle")


def open_artifact(bundle: Bundle, artifact: Artifact, options: ClassifyOptions, task: Task) -> Runtime:
    """The runtime that a run of these options asks; the caller closes it."""
    return open_runtime(
        bundle,
        runtime=options.runtime,
        device=options.device,
        artifact=artifact,
        max_batch=options.batch_size or defaults.GPU_BATCH,
        wanted=outputs_of(task, artifact),
        options=options.runtime_options(
            insist=options.batch_size is not None and not options.tune,
            # A U-Net's activations take hundreds of MB a batch: one at a time.
            lanes=defaults.default_lanes(options.threads) if task == "classify" else 1,
        ),
    )


def open_network(bundle: Bundle, *, task: Task = "classify", options: ClassifyOptions) -> Runtime:
    """The network that `run.run_folder` would open for these, for several runs; the caller closes it."""
    artifact, options = suitable(bundle, task, options)
    return open_artifact(bundle, artifact, options, task)


def decider_of(task: Task, artifact: Artifact, options: ClassifyOptions) -> SliceDecider | PairDecider | MaskDecider:
    """What reads the network's output."""
    if task == "segment":
        return MaskDecider()
    below, point = artifact.abstain_below if options.abstain else None, point_of(artifact, options.operating_point)
    if artifact.fusion:
        return PairDecider(fusion=Fusion.of(artifact.fusion, artifact.temperature), abstain_below=below, point=point)
    return SliceDecider(temperature=artifact.temperature, abstain_below=below, point=point)
