"""What is evaluated: a bundle on a runtime, or a training run in PyTorch; known by its files' hashes.

PyTorch is imported only for a run. Knows nothing about data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lits_deploy.backends import open_runtime, resolve
from lits_deploy.bundle import MANIFEST
from lits_deploy.contract import InputContract, Task
from lits_deploy.errors import DeviceError, MissingExtra, UserError
from lits_deploy.packed import open_bundle
from lits_deploy.pipeline.tuning import default_batch
from lits_deploy.runtime import Runtime
from lits_deploy.runtime.device import Device
from train.data.seen import Past, of_bundle


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to evaluate, not loaded yet.

    identity: what a reader needs to find this very network again; temperature, abstain_below: as the bundle applies
    them, neutral for a run; calibration: how they were fitted; trained_on: the training data set as its layout
    described it, empty where that is not known; past: which slices it was trained on. open: load it; the caller closes
    it.
    """

    kind: Literal["bundle", "run"]
    name: str
    task: Task
    contract: InputContract
    identity: dict[str, Any]
    trained_on: dict[str, Any]
    open: Callable[[], Runtime]
    temperature: float = 1.0
    abstain_below: float | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    past: Past = field(default_factory=Past)


def open_subject(
    path: Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    artifact: str | None = None,
    batch_size: int | None = None,
    threads: int = 0,
    engine_cache: Path | None = None,
) -> Subject:
    """A bundle's folder or a run's folder, told apart by what lies in it.

    batch_size: slices in a batch; None: 8 on a CPU, 32 on a GPU. threads: of the network; 0: every core.
    engine_cache: as in `runtime.open_runtime`.
    Raises UserError where `path` is neither, BundleError, DataError, DeviceError, and MissingExtra without PyTorch for
    a run.
    """
    if (path / MANIFEST).is_file() or path.is_file():
        return _of_bundle(path, runtime, device, artifact, batch_size, threads, engine_cache)
    if (path / "config.json").is_file():
        return _of_run(path, runtime, device, artifact, batch_size, threads)
    what = "is neither a bundle nor a training run" if path.exists() else "does not exist"
    raise UserError(f"{path} {what}.", fix="give a folder that `lits-deploy train` or `lits-deploy export` made")


def _of_bundle(
    path: Path,
    runtime: str,
    device: str,
    artifact: str | None,
    batch_size: int | None,
    threads: int,
    engine_cache: Path | None,
) -> Subject:
    bundle = open_bundle(path)
    chosen, manifest = bundle.artifact(artifact), bundle.manifest
    name, target = resolve(runtime, device)
    batch = batch_size or default_batch(str(target))

    def open_it() -> Runtime:
        return open_runtime(
            bundle, runtime=name, device=str(target), artifact=chosen, max_batch=batch, threads=threads,
            insist=batch_size is not None, engine_cache=engine_cache,
        )  # fmt: skip

    return Subject(
        kind="bundle",
        name=path.resolve().name,
        task=manifest.task,
        contract=manifest.contract,
        identity={
            "kind": "bundle", "name": path.resolve().name, "model": manifest.model.get("name"),
            "parameters": manifest.model.get("parameters"), "bundle_sha256": bundle.sha256, "artifact": chosen.name,
            "artifact_sha256": chosen.sha256, "precision": chosen.precision,
            "checkpoint_sha256": manifest.training.get("checkpoint_sha256"),
            "contract_sha256": manifest.contract.sha256,
        },
        trained_on=dict(manifest.training.get("dataset") or {}),
        open=open_it,
        temperature=chosen.temperature,
        abstain_below=chosen.abstain_below,
        calibration=dict(chosen.calibration),
        past=Past.of(of_bundle(bundle), manifest.training),
    )  # fmt: skip


def _of_run(
    path: Path, runtime: str, device: str, artifact: str | None, batch_size: int | None, threads: int
) -> Subject:
    if artifact is not None or runtime not in ("auto", "torch"):
        option = "--artifact" if artifact is not None else "--runtime"
        raise UserError(
            f"{path} is a training run, which is evaluated in PyTorch: {option} is for bundles.",
            fix=f"leave it out, or export with `lits-deploy export {path}`",
        )
    try:
        import torch

        from benchmarks.torch_eager import TorchEager
        from export.source import from_run
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("lits_deploy", "train", "export", "benchmarks"):
            raise
        raise MissingExtra(f"{error.name}, which evaluating a training run needs,", "train") from error
    cuda = torch.cuda.is_available()
    target = Device.parse(device, auto=Device("cuda" if cuda else "cpu"))
    if target.kind == "cuda" and (not cuda or target.index >= torch.cuda.device_count()):
        raise DeviceError(f"PyTorch has no {target} here.", fix="--device cpu")
    original = from_run(path)
    batch = batch_size or default_batch(str(target))

    def open_it() -> Runtime:
        return TorchEager(original, device=str(target), threads=threads, max_batch=batch)

    return Subject(
        kind="run",
        name=path.resolve().name,
        task=original.info.task,
        contract=original.contract,
        identity={
            "kind": "run", "name": path.resolve().name, "model": original.info.name,
            "parameters": original.parameters, "checkpoint": original.training["checkpoint"],
            "epoch": original.training["epoch"], "checkpoint_sha256": original.training["checkpoint_sha256"],
            "precision": "fp32", "contract_sha256": original.contract.sha256,
        },
        trained_on=dict(original.training.get("dataset") or {}),
        open=open_it,
        past=original.past,
    )  # fmt: skip
