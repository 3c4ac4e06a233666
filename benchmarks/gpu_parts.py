"""What the parts of `gpu_check` measure. Each runs in a process of its own, and keeps its record after every step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.fresh import ROOT
from benchmarks.gpu_rows import Contestant, GpuSubject, Row, check_network, line_of
from benchmarks.growth.synthetic_scans import manifest_of
from benchmarks.latency import MeasuringEffort, SliceFeed
from benchmarks.percentiles import needed_samples
from lits_deploy import nvidia
from lits_deploy.bundle import Bundle
from lits_deploy.contract import InputContract
from lits_deploy.errors import DeviceError, UserError
from lits_deploy.pipeline.defaults import GPU_BATCH
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.printable import say
from lits_deploy.run_json import read_run_json
from lits_deploy.runtime import Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.base import Batch
from lits_deploy.runtime.onnxruntime_ import cuda_trouble
from lits_deploy.trt.cache import ENVIRONMENT
from lits_deploy.trt.flavour import flavour_named
from train.data.layout import Layout, read_layout
from train.models.registry import network as network_named

CLASSIFIER = "resnet18"
"""Of the folder run."""

FULL_EPOCH = 35_484
"""Slices that the thesis trains on."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything.

    networks, training: names with widths of U-Nets. batches: slices in a call, for what PyTorch runs as it is and for
    what must be compiled for each. trained: candidates of `training_speed` and their batch sizes. epoch, files: slices
    that training and the folder run see, the phantoms over and over. seconds: of training that are timed, of each.
    mode, batch, calls: of the folder run through PyTorch, and of its network alone.
    """

    device: str
    networks: tuple[tuple[str, int | None], ...] = (("resnet18", None), ("unet", None))
    training: tuple[tuple[str, int | None], ...] = (("resnet18", None), ("unet", 16))
    batches: tuple[int, ...] = (1, 8, 32, 128)
    compiled_batches: tuple[int, ...] = (1, 32)
    trained: tuple[tuple[str, int], ...] = (("fp32", 32), ("bf16", 32), ("bf16", 256), ("compiled", 256))
    patients: int = 16
    epoch: int = 1024
    files: int = 20_000
    mode: str = "eager fp16 channels_last"
    batch: int = GPU_BATCH
    calls: int = 50
    seconds: float = 2.0
    effort: MeasuringEffort = MeasuringEffort(  # noqa: RUF009
        samples=needed_samples(95), cap_s=1.5, warmup_calls=3, warmup_s=0.3, warmup_cap_s=3.0
    )


FULL = Sizes(device="cuda:0")
DRY = Sizes(
    device="cpu",
    networks=(("unet", 2),),
    training=(("unet", 2),),
    batches=(1, 2),
    compiled_batches=(2,),
    trained=(("fp32", 4),),
    patients=3,
    epoch=8,
    files=6,
    mode="eager fp32",
    batch=2,
    calls=1,
    seconds=0.0,
    effort=MeasuringEffort(samples=2, cap_s=0.1, floor=2, warmup_calls=1, warmup_s=0.0, warmup_cap_s=0.0),
)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a part has. work: folder that all parts share; data: training layout; keep: writes the part's record."""

    sizes: Sizes
    work: Path
    data: Path
    wheels: Path | None
    keep: Callable[[dict[str, Any]], None]

    @property
    def dry(self) -> bool:
        """True on a CPU, to see that everything walks."""
        return self.sizes.device == "cpu"

    def layout(self, count: int) -> Layout:
        """The data with so many slices to train on, some of them several times."""
        layout = read_layout(self.data)
        splits = {split: samples * -(-count // len(samples)) for split, samples in layout.splits.items()}
        return Layout(layout.root, {**splits, "train": splits["train"][:count]}, layout.declared)


def slices(given: Given) -> None:
    """Phantoms for all other parts, unless there is data; takes processors only."""
    from train.phantom import write_phantoms

    made = {} if (given.data / "train").is_dir() else write_phantoms(given.data, given.sizes.patients, 0)
    given.keep({"slices_per_class": made.get("slices_per_class")})


def machine(given: Given) -> None:
    """The GPU, and what it reaches in matrix products and copies."""
    import torch

    found: dict[str, Any] = {"torch": torch.__version__, "cuda_of_torch": torch.version.cuda}
    device = torch.device(given.sizes.device)
    if given.dry:
        given.keep({"gpu": found})
        return
    about = torch.cuda.get_device_properties(device)
    found |= {
        "name": about.name,
        "compute_capability": f"{about.major}.{about.minor}",
        "memory_bytes": about.total_memory,
        "multiprocessors": about.multi_processor_count,
        "driver": nvidia.driver_version(),
    }
    given.keep({"gpu": found})
    host = torch.empty(1 << 28, dtype=torch.uint8)
    for name, source in (("pageable", host), ("pinned", host.pin_memory())):
        found[f"upload_{name}_gb_s"] = source.nbytes / _seconds(partial(source.to, device)) / 1e9
    side = 8192
    for name in ("float32", "bfloat16", "float16"):
        matrix = torch.randn(side, side, device=device, dtype=getattr(torch, name))
        found[f"matmul_{name}_tflops"] = 2 * side**3 / _seconds(partial(torch.mm, matrix, matrix)) / 1e12
    given.keep({"gpu": found})


def in_torch(given: Given) -> None:
    """Eager FP32, and FP16 in channels_last."""
    rows: list[Row] = []
    for name, width in given.sizes.networks:
        subject = _subject(given, name, width, modes=("eager fp32", "eager fp16 channels_last"))
        batches = [batch for batch in given.sizes.batches if batch <= GPU_BATCH or "logits" in subject.wanted]
        rows += _rows(given, subject, subject.contestants, batches)
        given.keep({"rows": rows})


def compiled(given: Given) -> None:
    """torch.compile, each beside eager FP32; batch sizes are compiled one by one."""
    _one_by_one(given, given.sizes.networks, modes=("eager fp32", "compile fp16 channels_last", "compile fp32"))


def rtx(given: Given) -> None:
    """TensorRT for RTX beside eager FP32, then a folder through its FP16 engine."""
    _one_by_one(given, given.sizes.networks[:1], "tensorrt", "rtx")


def cuda(given: Given) -> None:
    """ONNX Runtime's CUDA provider beside eager FP32."""
    if not given.dry and (trouble := cuda_trouble()):
        given.keep({"skipped": f"{trouble.found}. Fix: {trouble.fix}"})
        return
    _one_by_one(given, given.sizes.networks, "onnxruntime")


def tensorrt(given: Given) -> None:
    """TensorRT beside eager FP32, then a folder through its FP16 engine."""
    _one_by_one(given, given.sizes.networks[:1], "tensorrt", "tensorrt")


def training(given: Given) -> None:
    """Epochs of `train`, and how long one of the thesis's would take."""
    import torch

    from benchmarks.training_speed import SpeedComparison, few

    sizes, rows = given.sizes, []
    layout = few(given.layout(sizes.epoch), sizes.epoch)
    # What compiles comes last: it is what the time limit may cut.
    for candidate, batch in sizes.trained:
        for name, width in sizes.training:
            say(f"training {name}, batch {batch}, {candidate}")
            row: Row = {"network": name, "width": width, "batch": batch, "candidate": candidate, "error": None}
            try:
                comparison = SpeedComparison(name, layout, torch.device(sizes.device), batch=batch, width=width)
                rate = comparison.rate(candidate, sizes.seconds)
                row |= {"slices_per_second": rate, "full_epoch_s": FULL_EPOCH / rate}
            except (UserError, RuntimeError) as error:  # out of memory, no compiler
                row["error"] = line_of(error)
            rows.append(row)
            given.keep({"training": rows})


def folder(given: Given) -> None:
    """Files to slices.csv through PyTorch, FP16 in channels_last; needs no wheels."""
    subject = _subject(given, CLASSIFIER, None, modes=(given.sizes.mode,))
    given.keep({"folder": [_folder(given, subject, subject.contestants[0])]})


def tests(given: Given) -> None:
    """The tests that need a GPU."""
    files = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if any(f"mark.{mark}\n" in path.read_text(encoding="utf-8") for mark in ("gpu", "tensorrt"))
    ]
    # Warnings of other versions than the pinned ones are no errors here.
    options = ["-q", "-p", "no:cacheprovider", "-m", "gpu or tensorrt", "-o", "filterwarnings="]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *files], stdout=subprocess.PIPE, text=True)
    say(*done.stdout.splitlines())
    last = (done.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
    given.keep({"tests": last, "error": None if done.returncode == 0 else f"tests fail: {last}"})


def wheels(given: Given) -> None:
    """Unpack what lies in `given.wheels` where the parts look for it, and nowhere else."""
    assert given.wheels is not None
    found = sorted(given.wheels.glob("*.whl"))
    if not found:
        raise UserError(f"There are no wheels in {given.wheels}.", fix="pip download them where there is a network")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--target", str(given.work / "wheels"), *map(str, found)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    given.keep({"wheels": [path.name for path in found]})
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"pip takes none of {given.wheels}: {last}")


def _subject(given: Given, name: str, width: int | None, **options: Any) -> GpuSubject:
    from benchmarks.gpu_networks import CHECKED, make_subject
    from train.data.dataset import SliceDataset

    say(f"{name}: making it, and the original's answers")
    count, where = max(*given.sizes.batches, *CHECKED.values()), given.work / "bundles"
    pictures = SliceDataset(given.layout(count).splits["train"], InputContract(window_hu=None), masks=False).images
    here, device = options.pop("here", ()), given.sizes.device
    return make_subject(name, where, here, device=device, width=width, pictures=pictures.numpy(), **options)


def _rows(given: Given, subject: GpuSubject, contestants: list[Contestant], batches: Sequence[int]) -> list[Row]:
    """Rows of contestants in turns, each with the rate of the first, which is eager FP32."""
    rows = check_network(replace(subject, contestants=contestants), batches, effort=given.sizes.effort, say=say)
    eager = {row["batch"]: row["slices_per_second"] for row in rows if row["runtime"] == contestants[0].name}
    return [{**row, "eager_slices_per_second": eager[row["batch"]]} for row in rows]


def _one_by_one(
    given: Given,
    networks: Sequence[tuple[str, int | None]],
    runtime: str | None = None,
    flavour: str | None = None,
    modes: tuple[str, ...] = ("eager fp32",),
) -> None:
    """Each contestant in turns with the first alone, so that what one of them costs in time loses no other's row."""
    os.environ[ENVIRONMENT] = str(given.work / "engines")
    target = ("onnxruntime", "cpu") if given.dry else (runtime, given.sizes.device)
    flavours = [] if flavour is None else [flavour_named(flavour)]
    record: dict[str, Any] = {"rows": [], "folder": []}
    for name, width in networks:
        subject = _subject(given, name, width, modes=modes, here=[target] if runtime else [], flavours=flavours)
        eager, *others = subject.contestants
        if not others:
            raise DeviceError("Nothing here runs the exported files.", fix="its wheels in --wheels DIR")
        for one in sorted(others, key=lambda one: ("fp16", "fp32", "int8").index(one.precision)):
            record["rows"] += _rows(given, subject, [eager, one], given.sizes.compiled_batches)[1:]
            given.keep(record)
        sound = {row["precision"] for row in record["rows"] if row["error"] is None}
        if flavour and "fp16" in sound and "logits" in subject.wanted:
            half = next(one for one in others if one.precision == "fp16")
            record["folder"].append(_folder(given, subject, half))
            given.keep(record)


class _Idle(Runtime):
    """Answers at once: what is left of a folder run is decoding and writing."""

    name = "none"

    def _infer(self, batch: Batch) -> Outputs:
        return Outputs(logits=np.zeros((len(batch), 3), np.float32))

    def describe(self) -> RuntimeInfo:
        return RuntimeInfo(name=self.name, version="0", device="cuda", precision="fp32", providers=())


def _folder(given: Given, subject: GpuSubject, contestant: Contestant) -> dict[str, Any]:
    """Slices per second of decoding alone, of the network alone, and of both; where the time of both went.

    decode_share: of the workers' time; copy_share, compute_share, wait_share: of the network's, while files were read.
    copy: what uploads of such batches take by themselves, from pageable memory.
    """
    import torch

    scans = given.work / "scans"
    if not scans.is_dir():
        scans.mkdir()
        for number, sample in enumerate(given.layout(given.sizes.files).splits["train"]):
            os.link(sample.image.resolve(), scans / f"volume-{number // 1000}_{number % 1000:04d}{sample.image.suffix}")
    say(f"folder: {given.sizes.files} files, decoding alone")
    batch = given.sizes.batch
    alone, _ = _run(given, scans, _Idle(shape=subject.slices.shape[1:], max_batch=batch))
    with contestant.open(max_batch=batch, wanted=("logits",)) as network:
        slices = SliceFeed(subject.slices, batch).batch(0, batch)
        engine = batch / _seconds(partial(network.infer, slices), given.sizes.calls)
        say(f"folder: through {contestant.name} {contestant.precision}")
        both, timings = _run(given, scans, network)
    files_s, stages = timings["files_s"], timings["stages"]
    upload = partial(torch.from_numpy(slices).to, torch.device(given.sizes.device))
    copied = 0.0 if given.dry else both["slices"] / batch * _seconds(upload)
    return {
        "runtime": contestant.name,
        "precision": contestant.precision,
        "batch": batch,
        **both,
        "decode_slices_per_second": alone["slices_per_second"],
        "engine_slices_per_second": engine,
        "of_the_slower": both["slices_per_second"] / min(alone["slices_per_second"], engine),
        "decode_share": stages["decode_s"] / both["workers"] / files_s,
        "copy_share": copied / files_s,
        "compute_share": max(0.0, stages["infer_s"] - copied) / files_s,
        "wait_share": stages["wait_s"] / files_s,
        "stages": stages,
    }


def _run(given: Given, scans: Path, network: Runtime) -> tuple[dict[str, Any], dict[str, Any]]:
    """`run_folder` into a new folder: rate while files were read, and run.json's timings."""
    contract = InputContract(window_hu=None, crop=network_named(CLASSIFIER).crop)
    manifest = manifest_of(contract, CLASSIFIER)  # a bundle in name only: the network is open already
    out = given.work / f"out-{os.getpid()}-{perf_counter()}"
    options = ClassifyOptions(abstain=False, operating_point="argmax", batch_size=given.sizes.batch)
    bundle = Bundle(given.work / "no-bundle", manifest, "0" * 64)
    summary = run_folder(bundle, [scans], out, options=options, runtime=network)
    if summary.slices != given.sizes.files:
        raise DeviceError(f"{summary.slices} of {given.sizes.files} files have an answer: {dict(summary.reasons)}")
    run = read_run_json(summary.run_json)
    workers = run["options"]["workers_at_the_end"]
    about = {"slices": summary.slices, "slices_per_second": summary.slices_per_s, "workers": workers}
    return about, run["timings"]


def _seconds(step: Callable[[], Any], calls: int = 10) -> float:
    """Mean seconds of a call after one that is not timed."""
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else int
    step()
    wait()
    started = perf_counter()
    for _ in range(calls):
        step()
    wait()
    return (perf_counter() - started) / calls
