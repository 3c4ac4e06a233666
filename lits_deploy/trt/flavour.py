"""Which TensorRT is here. `tensorrt` (10.x, 11.x) and TensorRT for RTX have one API, apart from a few names.

The library is imported when it is asked for, never by importing this module. `Library.trt` is Any; those who call it
annotate what they get with the types of `tensorrt`, whose published stubs `make lint` checks them against.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lits_deploy.errors import DeviceError, DeviceOutOfMemory, LitsError, MissingExtra, UserError

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """A kind of TensorRT.

    name: in keys and on the command line; modules: where it may be; extra: of lits-deploy, brings it.
    """

    name: str
    title: str
    modules: tuple[str, ...]
    extra: str


FLAVOURS = (
    Flavour(name="tensorrt", title="TensorRT", modules=("tensorrt",), extra="trt"),
    Flavour(name="rtx", title="TensorRT for RTX", modules=("tensorrt_rtx_bindings", "tensorrt_rtx"), extra="trt-rtx"),
)
"""In the order that `auto` tries them."""


def flavour_named(name: str) -> Flavour:
    """The flavour of that name; UserError lists those there are."""
    for flavour in FLAVOURS:
        if flavour.name == name:
            return flavour
    raise UserError(
        f"`{name}` is not a flavour of TensorRT.", fix=f"use one of: auto, {', '.join(f.name for f in FLAVOURS)}"
    )


def installed(flavour: Flavour | None = None) -> bool:
    """True where that flavour (None: any) is installed; imports nothing.

    A folder without code does not count: type stubs leave one of the same name.
    """
    for name in flavour.modules if flavour else [name for f in FLAVOURS for name in f.modules]:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None:
                return True
    return False


@dataclass
class Log:
    """Lines of a TensorRT logger: (severity, text), 0 an internal error, 1 an error, 2 a warning, 4 verbose."""

    lines: list[tuple[int, str]] = field(default_factory=list)

    def problem(self) -> str | None:
        """The first error, without TensorRT's file names; None where there was none."""
        for severity, text in self.lines:
            if severity <= 1 and "getCurrentCC" not in text:  # a builder without a GPU says that of itself
                return text.strip()
        return None


@dataclass(frozen=True)
class Library:
    """An imported TensorRT. `trt`: the module; `logger`: the one logger that it may have in this process."""

    flavour: Flavour
    trt: Any
    logger: Any
    sinks: list[Log]
    recent: deque[tuple[int, str]]

    @property
    def version(self) -> str:
        """Like `10.3.0.30` or `1.7.1.116`."""
        return str(self.trt.__version__)

    @property
    def is_rtx(self) -> bool:
        """TensorRT for RTX: compiles for the GPU when an engine is loaded, builds for GPUs that are not here."""
        return self.flavour.name == "rtx"

    def __str__(self) -> str:
        return f"{self.flavour.title} {self.version}"

    @contextmanager
    def listening(self) -> Iterator[Log]:
        """All that TensorRT says meanwhile, in any thread."""
        log = Log()
        self.sinks.append(log)
        try:
            yield log
        finally:
            self.sinks.remove(log)

    def forget(self) -> None:
        """Before a call whose failure `last_error` is to explain: what was said earlier is not about it."""
        self.recent.clear()

    def last_error(self) -> str:
        """What TensorRT complained of last, since `forget`; empty where it did not."""
        return self.recent[-1][1].strip() if self.recent else ""

    def failure(self, what: str) -> LitsError:
        """What TensorRT could not do, and why: DeviceOutOfMemory where it says so, else DeviceError."""
        reason = " ".join(re.sub(r"In \w+ at /\S+", "", self.last_error()).split()).rstrip(" .")
        if "memory" in reason.lower() and "illegal" not in reason.lower():
            return DeviceOutOfMemory(f"{self} {what}: {reason[:200]}")
        said = f": {reason[:300]}" if reason else ""
        return DeviceError(f"{self} {what}{said}.", fix="--runtime onnxruntime, and see `lits-deploy doctor`")

    def need(self, made: Made | None, what: str) -> Made:
        """What a call returned; `failure` where that is None, as TensorRT answers when it cannot."""
        if made is None:
            raise self.failure(what)
        return made

    def make(self, kind: str, *arguments: Any) -> Any:
        """A `Builder`, `Runtime` or `OnnxParser`; `failure` where it cannot be made, as when CUDA does not start."""
        self.forget()
        try:
            return getattr(self.trt, kind)(*arguments)
        except TypeError as error:
            if "nullptr" not in str(error):  # how pybind tells a null pointer; anything else is a bug of ours
                raise
            raise self.failure("does not start here" if kind != "OnnxParser" else "makes no parser") from error


_LOADED: dict[str, Library] = {}
_LOCK = threading.Lock()


def load(name: str = "auto") -> Library:
    """Import a flavour, once; `auto` takes the first of FLAVOURS that can be imported.

    Raises UserError for an unknown name, MissingExtra where it is not installed, DeviceError where it is and its
    libraries cannot be loaded.
    """
    wanted = FLAVOURS if name == "auto" else (flavour_named(name),)
    broken: list[str] = []
    with _LOCK:
        for flavour in wanted:
            if flavour.name in _LOADED:
                return _LOADED[flavour.name]
            if not installed(flavour):
                continue
            try:
                module = _import(flavour)
            except (ImportError, OSError) as error:
                broken.append(f"{flavour.title}: {error}")
                continue
            _LOADED[flavour.name] = library = _library(flavour, module)
            return library
    if broken:
        raise DeviceError(
            f"{broken[0].splitlines()[0][:200]}: it is installed and cannot be loaded.",
            fix="install it again, with the CUDA it was made for",
        )
    raise MissingExtra(" or ".join(flavour.title for flavour in wanted), wanted[-1].extra)


def _import(flavour: Flavour) -> Any:
    problem: ImportError | None = None
    for name in flavour.modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            problem = problem or error
            continue
        if hasattr(module, "Builder"):
            return module
    raise problem or ImportError(f"{flavour.modules[0]} has no builder")


def _library(flavour: Flavour, trt: Any) -> Library:
    sinks: list[Log] = []
    recent: deque[tuple[int, str]] = deque(maxlen=20)

    class Logger(trt.ILogger):  # type: ignore[misc] # its base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            line = (int(severity), message)
            for sink in tuple(sinks):
                sink.lines.append(line)
            if line[0] <= 1:
                recent.append(line)

    # One logger for the whole process: TensorRT keeps the first it is given and ignores any other.
    return Library(flavour, trt, Logger(), sinks, recent)
