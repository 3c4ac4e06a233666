"""Who takes part in a comparison: our pipeline on each runtime, and every peer that can run the same network here.

And the files that they are given, with their classes where a folder is the test split of a data set.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.backends import targets
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DataError, UserError
from lits_deploy.pipeline.defaults import CPU_BATCH
from lits_deploy.scans.discover import Discovery
from train.data.layout import SPLITS, read_layout
from train.data.masks import load_class
from train.data.spread import evenly

MODEL_BATCHES = (1, CPU_BATCH, 32)

_BARE = "benchmarks.peers.bare_scripts"


@dataclass(frozen=True, kw_only=True)
class LineupEntry:
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

    @property
    def bare(self) -> bool:
        """True for a library's own calls one after another: what our overhead is over."""
        return self.module == _BARE and self.mode != "throughput"

    def same_file(self, other: LineupEntry) -> bool:
        """The same file on the same library."""
        return (self.library, self.artifact) == (other.library, other.artifact)

    def missing(self) -> str | None:
        """The first module that is not installed."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


def lineup(bundle: Bundle, device: str) -> list[LineupEntry]:
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
        LineupEntry(
            name=f"ours {runtime} {artifact.name}",
            title="lits-deploy classify",
            library=f"{runtime} {kind}",
            precision=artifact.precision,
            artifact=artifact.name,
            runtime=runtime,
        )
        for runtime, where in targets()
        if where.partition(":")[0] == kind
        for artifact in artifacts
        if artifact.placed_for(runtime, where)
    ]
    found += _torch_entries(kind)
    for artifact in artifacts:
        found += _onnx_entries(artifact, kind)
    return found


def _torch_entries(kind: str) -> list[LineupEntry]:
    """FP32 peers that run the checkpoint."""
    found = []
    for name, title, mode in (
        ("plain", "plain PyTorch script", "eager"),
        ("plain channels_last", "PyTorch script, channels_last", "channels_last"),
        ("torch.compile", "PyTorch script, torch.compile", "compile"),
        ("timm", "timm's inference loop", "timm"),
    ):
        found.append(
            LineupEntry(
                name=name,
                title=title,
                library=f"PyTorch {kind}",
                precision="fp32",
                module="benchmarks.peers.torch_scripts",
                mode=mode,
                settings=((32, 1), (32, 2)),
                needs=("torch", "timm") if name == "timm" else ("torch",),
            )
        )
    return found


def _onnx_entries(artifact: Artifact, kind: str) -> list[LineupEntry]:
    """Peers that run a file of the bundle."""
    where: dict[str, Any] = {"artifact": artifact.name, "precision": artifact.precision}
    on_cpu, name = kind == "cpu", artifact.name
    found = []
    for library, mode, title, settings in (
        ("onnxruntime", "onnxruntime", "bare ONNX Runtime script", ((8, 1), (32, 2))),
        ("openvino", "latency", "OpenVINO script, latency mode", ((8, 1), (32, 2))),
        ("openvino", "throughput", "OpenVINO script, throughput mode", ((1, 1), (8, 1))),
    ):
        if artifact.placed_for(library, kind) and (on_cpu or library == "onnxruntime"):
            found.append(
                LineupEntry(
                    name=f"{library} {name}" if library == mode else f"{library} {mode} {name}",
                    title=title,
                    library=f"{library} {kind}",
                    module=_BARE,
                    mode=mode,
                    settings=settings,
                    needs=(library,),
                    **where,
                )
            )
    if on_cpu and artifact.precision == "fp32":
        found.append(
            LineupEntry(
                name=f"ultralytics {name}",
                title="Ultralytics predict (ONNX)",
                library=f"onnxruntime {kind}",
                module="benchmarks.peers.ultralytics_script",
                settings=((8, 0), (32, 0)),
                needs=("ultralytics", "torch", "onnx", "onnxruntime"),
                **where,
            )
        )
    return found


def peer_spec(entry: LineupEntry, bundle: Bundle, run: Path | None, threads: int, device: str) -> dict[str, Any]:
    """What a peer's process gets, less the job."""
    if bundle.folder.is_file():
        raise UserError(f"Peers read files, not {bundle.folder}.", fix=f"lits-deploy bundle unpack {bundle.folder}")
    artifact = bundle.artifact(entry.artifact)
    return {
        "mode": entry.mode,
        "threads": threads,
        "device": device,
        "run": run and str(run.resolve()),
        "model": str((bundle.folder / artifact.file).resolve()),
        "model_sha256": artifact.sha256,
        "size": bundle.manifest.contract.size,
        "classes": list(bundle.manifest.contract.classes),
    }


@dataclass(frozen=True, kw_only=True)
class PeerScans:
    """roots: what the pipeline is given; files: real paths of the scans below, sorted.

    targets: their classes; None for those of a split that the network may have been trained on, or all None.
    """

    roots: list[Path]
    files: list[str]
    targets: list[int | None] | None
    line: str


def find_scans(folders: Sequence[Path], limit: int | None = None) -> PeerScans:
    """The scans below folders, or `limit` of them at equal distances. Raises UserError where there are none."""
    # Of a split of a data set: its masks are no scans.
    named = [folder / "images" if (folder / "images").is_dir() else folder for folder in folders]
    discovery = Discovery(named)
    found = [one for one in discovery if one.kind == "picture" and one.container is None]  # what the peers read
    files = sorted(os.path.realpath(discovery.real_path(one.path)) for one in found)
    if not files:
        raise UserError(f"There are no PNG or JPEG slices in {folders[0]}.", fix="give --scans FOLDER")
    of, roots = len(files), named
    if limit is not None and limit < of:
        files = evenly(files, limit)
        roots = [Path(file) for file in files]
    per_root = [_targets(root) for root in named]
    known = {file: target for classes, _ in per_root for file, target in classes.items()}
    part = "" if len(files) == of else f" of {of:,}, evenly spread"
    targets = [known.get(file) for file in files] if known else None
    labelled = sum(file in known for file in files)
    line = f"{'; '.join(name for _, name in per_root)}: {len(files):,} files{part}"
    if targets is not None and labelled < len(files):
        line += f" (accuracy on the {labelled:,} of the test split)"
    return PeerScans(roots=roots, files=files, targets=targets, line=line)


def _targets(folder: Path) -> tuple[dict[str, int], str]:
    """Real path → class of a test split; none for any other folder."""
    split = folder.resolve().parent
    if folder.name != "images" or split.name not in SPLITS:
        return {}, folder.resolve().name
    name = f"{split.parent.name}, {split.name} split"
    if split.name != "test":
        return {}, name
    try:
        layout = read_layout(split.parent, (split.name,))
    except DataError:
        return {}, name
    found = {os.path.realpath(sample.image): load_class(sample) for sample in layout.splits[split.name]}
    return found, name + (" BY SLICE" if layout.split_by == "slice" else "")
