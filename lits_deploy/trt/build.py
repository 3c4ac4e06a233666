"""ONNX file → engine, with whichever TensorRT is here: always strongly typed, so the file alone says the precision.

Builds run in a thread of their own, which lets go of Python's lock: the caller's thread stays free to notice Ctrl-C,
and the progress monitor then tells the builder to give up. Knows nothing about where engines are kept.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from lits_deploy.errors import DeviceOutOfMemory, EngineError
from lits_deploy.model_file import ModelFile
from lits_deploy.trt.flavour import Library, Log
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.layers import Layer, parse_listing
from lits_deploy.trt.progress import Phases

if TYPE_CHECKING:  # type stubs
    import tensorrt

OnProgress = Callable[[float, str], None]
"""(share done 0…1, what the builder is at)."""

CANCEL_S = 1.0
"""How long Ctrl-C waits for the builder to give up before it leaves it behind."""

_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine in memory. layers: as the verbose build log lists them; timing_cache: to keep, b"" for none."""

    data: bytes
    layers: list[Layer]
    seconds: float
    timing_cache: bytes


def build(
    library: Library,
    model: ModelFile,
    profile: OptimisationProfile,
    *,
    targets: tuple[str, ...] = (),
    use_gpu: Callable[[], None] = lambda: None,
    tf32: bool = False,
    timing_cache: bytes = b"",
    on_progress: OnProgress = lambda _share, _phase: None,
) -> Built:
    """Build an engine of an ONNX file whose one input is [N, C, H, W].

    targets: compute capabilities like `sm86` (RTX only); none: for the GPU that `use_gpu` makes the building thread's.
    tf32: FP32 may be multiplied in TF32. Raises EngineError naming the node that TensorRT refuses, DeviceError where
    TensorRT does not start, DeviceOutOfMemory, KeyboardInterrupt within about a second of Ctrl-C.
    """
    phases = Phases(on_progress)
    result: list[Built | BaseException] = []

    def work() -> None:
        try:
            use_gpu()  # CUDA keeps the current GPU for each thread: a new one begins with the first GPU
            result.append(_build(library, model, profile, targets, timing_cache, phases, tf32))
        except BaseException as error:  # raised again in the caller's thread
            result.append(error)

    thread = threading.Thread(target=work, name="lits-deploy-engine-build", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
    except KeyboardInterrupt:
        phases.cancel()
        give_up = monotonic() + CANCEL_S
        while thread.is_alive() and monotonic() < give_up:
            thread.join(_POLL_S)
        raise
    (outcome,) = result
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def supported_targets(library: Library) -> tuple[str, ...]:
    """Compute capabilities that an RTX builder knows, like `sm86`; none for other flavours."""
    known = getattr(library.trt, "ComputeCapability", None)
    if not library.is_rtx or known is None:
        return ()
    return tuple(sorted((n.lower() for n in dir(known) if re.fullmatch(r"SM\d+", n)), key=lambda name: int(name[2:])))


def check_targets(library: Library, targets: tuple[str, ...]) -> None:
    """EngineError where this TensorRT cannot build for them."""
    known = supported_targets(library)
    if targets and not library.is_rtx:
        raise EngineError(
            f"{library} builds for the GPU of this machine only, not for {', '.join(targets)}.",
            fix="leave --compute-capability out, or use --trt-flavour rtx",
        )
    if unknown := [name for name in targets if name not in known]:
        raise EngineError(
            f"{library} does not know {', '.join(unknown)}.", fix=f"choose from {', '.join(known)}, or build on the box"
        )


def _build(
    library: Library,
    model: ModelFile,
    profile: OptimisationProfile,
    targets: tuple[str, ...],
    timing_cache: bytes,
    phases: Phases,
    tf32: bool,
) -> Built:
    trt, started = library.trt, perf_counter()
    with library.listening() as log:
        builder: tensorrt.Builder = library.make("Builder", library.logger)
        strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = library.need(builder.create_network(strongly_typed), "makes no network")
        _parse(library, network, model, log)
        config = library.need(builder.create_builder_config(), "makes no configuration")
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if not tf32:
            config.clear_flag(trt.BuilderFlag.TF32)  # on by default; FP32 means FP32: TF32 has ten bits of mantissa
        # Without it TensorRT ≥ 10.10 asks for the scratch memory of the largest batch, whatever the batch.
        if (resize := getattr(trt.PreviewFeature, "RUNTIME_ACTIVATION_RESIZE_10_10", None)) is not None:
            config.set_preview_feature(resize, True)
        slices = network.get_input(0)
        one = [slices.shape[axis] for axis in range(1, 4)]  # [C, H, W]
        batches = builder.create_optimization_profile()
        batches.set_shape(slices.name, *(trt.Dims([n, *one]) for n in (1, profile.best, profile.most)))
        config.add_optimization_profile(batches)
        config.progress_monitor = monitor = _monitor(trt, phases)
        timings = None
        if library.is_rtx:
            _aim(library, config, targets)
        else:  # one that was kept is refused where it is of another GPU or damaged
            timings = _timings(config, timing_cache) or _timings(config, b"")
        plan: tensorrt.IHostMemory | None = builder.build_serialized_network(network, config)
        if plan is None:
            if phases.cancelled:
                raise EngineError("The build was cancelled.")
            if lack := _lack_of_memory(log):
                raise DeviceOutOfMemory(f"{library} cannot build it: {lack}")
            raise EngineError(_message(library, log.problem() or "no engine and no reason"), fix=_FIX)
        filled = None if timings is None else config.get_timing_cache()
        blob = None if filled is None else filled.serialize()
        kept = b"" if blob is None else bytes(blob)
        del monitor, timings  # alive until here: the configuration may only point to them
        data = bytes(plan)
    layers = parse_listing(line for _, text in log.lines if text.startswith("Layers:") for line in text.split("\n"))
    return Built(data=data, layers=layers, seconds=perf_counter() - started, timing_cache=kept)


_FIX = "another --precision or --trt-flavour, or run this file with ONNX Runtime"


def _parse(library: Library, network: tensorrt.INetworkDefinition, model: ModelFile, log: Log) -> None:
    parser: tensorrt.OnnxParser = library.make("OnnxParser", network, library.logger)
    parsed: Any = parser.parse(model.view)  # the stubs' `bool` is a member of DataType
    if parsed:
        if network.num_inputs != 1:
            raise EngineError(f"{model.name} has {network.num_inputs} inputs, not one.", fix="export again")
        return
    refused: Any = parser  # the stubs have no type for its errors
    problems = [refused.get_error(index) for index in range(parser.num_errors)]
    if not problems:
        raise EngineError(f"{library} cannot parse {model.name}: {log.problem()}.", fix=_FIX)
    first = problems[0]
    name, kind = first.node_name(), first.node_operator()
    where = f" at the {kind or 'unknown'} node {name}" if name or kind else ""
    what = re.sub(r"\[?checkMacros.*|\(?In \w+ at /\S+.*", "", first.desc(), flags=re.DOTALL)
    what = " ".join(what.replace(f"Invalid Node - {name}", "").split()).rstrip(" .")
    raise EngineError(f"{library} cannot parse {model.name}{where}: {what[:300]}.", fix=_FIX)


def _timings(config: tensorrt.IBuilderConfig, data: bytes) -> tensorrt.ITimingCache | None:
    """A timing cache that the builder uses and fills; None where it does not take this one."""
    cache: tensorrt.ITimingCache | None = config.create_timing_cache(data)
    return cache if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False) else None


def _aim(library: Library, config: Any, targets: tuple[str, ...]) -> None:
    config.num_compute_capabilities = max(1, len(targets))
    for index, name in enumerate(targets or ("current",)):
        if not config.set_compute_capability(getattr(library.trt.ComputeCapability, name.upper()), index):
            raise library.failure(f"does not build for {name}")


def _lack_of_memory(log: Log) -> str | None:
    """What a failed build says of the GPU's memory; a warning counts where no way to compute a node was left over."""
    most = 2 if "any implementation" in (log.problem() or "") else 1
    said = [" ".join(text.split())[:200] for severity, text in log.lines if severity <= most]
    lacks = [text for text in said if _LACK.search(text)]
    return next((text for text in lacks if "equested" in text), lacks[0] if lacks else None)  # the one with a number


_LACK = re.compile(r"out ?of ?memory|insufficient (?:memory|workspace)|could not be allocated", re.IGNORECASE)


def _message(library: Library, problem: str) -> str:
    """One line of TensorRT's error: without source locations, the operation that it quotes kept."""
    text = re.sub(r"^IBuilder::\w+: ", "", problem)
    text = re.sub(r"Error Code \d+: ", "", text)
    text = re.sub(r"\[\w+\.cpp:\d+: \w+\] |In \w+ at /\S+", "", text)
    text = re.sub(r"^[A-Z][\w ]* \(", "", " ".join(text.split()))
    return f"{library} cannot build it: {text.rstrip(' .)')[:300]}."


def _monitor(trt: Any, phases: Phases) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # its base is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.step(phase_name, step)

    return Monitor()
