"""Who takes part in a comparison: our pipeline on each runtime, and every peer that can run the same network here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.backends import places
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import UserError

MODEL_BATCHES = (1, 8, 32)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One candidate.

    name: key in the records; title: for people. module: of the peer, empty for our pipeline; mode: one of the module's.
    library, precision: what it computes with; a peer and we are compared where both are the same.
    artifact: of the bundle; None for peers that take the run's checkpoint. runtime: of our pipeline.
    settings: (batch, workers) that the folder job is tried with; the faster is kept. needs: modules to import.
    """

    name: str
    title: str
    library: str
    precision: str
    module: str = ""
    mode: str = ""
    artifact: str | None = None
    runtime: str = ""
    settings: tuple[tuple[int, int], ...] = ()
    batches: tuple[int, ...] = MODEL_BATCHES
    needs: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """True for the pipeline of this project."""
        return not self.module

    def missing(self) -> str | None:
        """The first module that is not installed."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


def lineup(bundle: Bundle, device: str) -> list[Entry]:
    """Ours first, then the peers, with the artifacts that passed their gates. device: `cpu` or `cuda`.

    FP16 files are left out on a CPU, where they are computed in FP32.
    """
    kind = device.partition(":")[0]
    artifacts = [
        artifact
        for artifact in bundle.manifest.artifacts
        if artifact.gate.get("passed", True) and (kind != "cpu" or artifact.precision != "fp16")
    ]
    found = [
        Entry(
            name=f"ours {runtime} {artifact.name}",
            title="lits-deploy classify",
            library=f"{runtime} {kind}",
            precision=artifact.precision,
            artifact=artifact.name,
            runtime=runtime,
        )
        for runtime, where in places()
        if where.partition(":")[0] == kind
        for artifact in artifacts
        if artifact.placed_for(runtime, where)
    ]
    found += _torch_entries(kind)
    for artifact in artifacts:
        found += _onnx_entries(artifact, kind)
    return found


def _torch_entries(kind: str) -> list[Entry]:
    """FP32 peers that run the checkpoint."""
    library, module = f"PyTorch {kind}", "benchmarks.peers.torch_scripts"
    loaders = ((32, 1), (32, 2))
    modes = [
        ("plain", "plain PyTorch script", "eager"),
        ("plain channels_last", "PyTorch script, channels_last", "channels_last"),
        ("torch.compile", "PyTorch script, torch.compile", "compile"),
    ]
    found = [
        Entry(
            name=name,
            title=title,
            library=library,
            precision="fp32",
            module=module,
            mode=mode,
            settings=loaders,
            needs=("torch",),
        )
        for name, title, mode in modes
    ]
    found.append(
        Entry(
            name="timm",
            title="timm's inference loop",
            library=library,
            precision="fp32",
            module="benchmarks.peers.timm_script",
            settings=loaders,
            needs=("torch", "timm"),
        )
    )
    return found


def _onnx_entries(artifact: Artifact, kind: str) -> list[Entry]:
    """Peers that run a file of the bundle."""
    where: dict[str, Any] = {"artifact": artifact.name, "precision": artifact.precision}
    found = []
    if artifact.placed_for("onnxruntime", kind):
        found.append(
            Entry(
                name=f"onnxruntime {artifact.name}",
                title="bare ONNX Runtime script",
                library=f"onnxruntime {kind}",
                module="benchmarks.peers.onnxruntime_script",
                settings=((8, 1), (32, 2)),
                needs=("onnxruntime",),
                **where,
            )
        )
    if kind == "cpu" and artifact.placed_for("openvino", kind):
        for mode, settings in (("latency", ((8, 1), (32, 2))), ("throughput", ((1, 1), (8, 1)))):
            found.append(
                Entry(
                    name=f"openvino {mode} {artifact.name}",
                    title=f"OpenVINO script, {mode} mode",
                    library=f"openvino {kind}",
                    module="benchmarks.peers.openvino_script",
                    mode=mode,
                    settings=settings,
                    needs=("openvino",),
                    **where,
                )
            )
    if kind == "cpu" and artifact.precision == "fp32":
        found.append(
            Entry(
                name=f"ultralytics {artifact.name}",
                title="Ultralytics predict (ONNX)",
                library=f"onnxruntime {kind}",
                module="benchmarks.peers.ultralytics_script",
                settings=((8, 0), (32, 0)),
                needs=("ultralytics", "torch", "onnx", "onnxruntime"),
                **where,
            )
        )
    return found


def spec_of(entry: Entry, bundle: Bundle, run: Path, threads: int, device: str) -> dict[str, Any]:
    """What a peer's process is told, less the job."""
    artifact = None if entry.artifact is None else bundle.artifact(entry.artifact)
    if bundle.folder.is_file():
        raise UserError(f"Peers read files, not {bundle.folder}.", fix=f"lits-deploy bundle unpack {bundle.folder}")
    model = None if artifact is None else str((bundle.folder / artifact.file).resolve())
    return {
        "mode": entry.mode,
        "threads": threads,
        "device": device,
        "run": str(run.resolve()),
        "model": model,
        "model_sha256": None if artifact is None else artifact.sha256,
        "size": bundle.manifest.contract.size,
        "classes": list(bundle.manifest.contract.classes),
    }
