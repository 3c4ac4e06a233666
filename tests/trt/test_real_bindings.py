"""The real bindings of TensorRT, without a GPU: beside empty libraries they import, and tell every signature.

TensorRT for RTX, which has a builder without a GPU, is taken as it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.trt.flavour import FLAVOURS, installed
from pybind_double import Double, Module

VERSIONS = {"10.3.0": 0, "11.4.0.106": 4}
"""JetPack 6's and the newest (in the Makefile too), with the place of ILogger::log among its virtual methods, as found
by trying: in 11 those of IVersionedInterface come first."""

WHEELS = Path(pytest.__file__).parents[4] / "bindings"
"""In the virtual environment that pytest is of, as `make test` fills it (Makefile)."""

CONTRACT = Path(__file__).parents[1] / "support" / "trt_contract.py"

OTHERS = {"ILogger", "append", "clear", "data", "dtype", "itemsize", "logger", "precision"}
OTHERS |= {"read", "remove", "start"}
"""Attributes of other things in our sources that TensorRT has too; ILogger is a base class, used by loading."""

EMPTY = """
typedef void (*Log)(void *, int, const char *);
static void *fail(void *logger, const char *text) {
  (*(Log **)logger)[LOG](logger, 1, text); /* 1: an error */
  return 0;
}
void *createInferBuilder_INTERNAL(void *logger, int version) { return fail(logger, TEXT "builder"); }
void *createInferRuntime_INTERNAL(void *logger, int version) { return fail(logger, TEXT "runtime"); }
void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) { return 0; }
void *createInferRefitter_INTERNAL(void) { return 0; }
void *createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
void *getBuilderPluginRegistry(void) { return 0; }
void *getPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void) { return 0; }
"""
"""What stands in for libnvinfer, the parser and the plugins: nothing starts, as on a machine where CUDA does not."""

START = """
from lits_deploy.model_file import ModelFile
from lits_deploy.trt.build import build
from lits_deploy.trt.engine import LoadedEngine
from lits_deploy.trt.flavour import load
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.prepare import inspect
from lits_deploy.errors import DeviceError

library = load("tensorrt")
for call in (
    lambda: build(library, ModelFile("none.onnx", b"\\x08\\x09"), OptimisationProfile()),
    lambda: LoadedEngine(library, b"engine"),
    lambda: inspect(library, b"engine"),
):
    try:
        call()
    except DeviceError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def empty_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("empty")
    (folder / "empty.c").write_text('#define TEXT "CUDA initialization failure with error: 35: "' + EMPTY)
    for library in ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin"):
        for version, log in VERSIONS.items():
            name = f"{library}.so.{version.partition('.')[0]}"
            flags = ["-shared", "-fPIC", f"-DLOG={log}", f"-Wl,-soname,{name}", "-o", name]
            subprocess.run([compiler, *flags, "empty.c"], cwd=folder, check=True)
    package = folder / "tensorrt"  # as the vendor's package of that name
    package.mkdir()
    (package / "__init__.py").write_text(
        "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__ as __version__\n"
    )
    return folder


def run(version: str, empty: Path, *arguments: str) -> str:
    """What a Python with that version of the bindings prints."""
    wheel = WHEELS / f"tensorrt-cu12-bindings=={version}"
    if not wheel.is_dir():
        pytest.skip(f"needs {wheel.name}, which `make test` installs into {WHEELS.name}")
    paths = {"PYTHONPATH": f"{wheel}:{empty}", "LD_LIBRARY_PATH": str(empty)}
    done = subprocess.run([sys.executable, *arguments], env=os.environ | paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def contract(version: str, empty: Path) -> dict[str, set[str]]:
    """What our code calls and names; an AssertionError shows the traceback of the first call that does not fit."""
    return {key: set(names) for key, names in json.loads(run(version, empty, str(CONTRACT), "tensorrt")).items()}


def contract_of_rtx() -> dict[str, set[str]]:
    done = subprocess.run([sys.executable, str(CONTRACT), "rtx"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {key: set(names) for key, names in json.loads(done.stdout).items()}


def test_every_call_of_ours_fits_the_real_bindings_and_none_is_left_out(empty_libraries: Path) -> None:
    found = [contract(version, empty_libraries) for version in VERSIONS]
    for each in found:
        assert {"Builder.build_serialized_network", "IExecutionContext.execute_async_v3"} <= each["called"]
    if not installed(FLAVOURS[1]):
        pytest.skip("the rest needs TensorRT for RTX (extra trt-rtx)")
    found.append(contract_of_rtx())
    assert "IRuntimeConfig.set_runtime_cache" in found[-1]["called"]
    called = {name.rpartition(".")[2] for each in found for name in each["called"] | each["used"]}
    named = set().union(*(each["named"] for each in found))
    assert named - called == OTHERS, "call it in trt_contract.py, or say here that it is none of TensorRT's"


def test_where_cuda_does_not_start_an_error_says_what_tensorrt_says(version: str, empty_libraries: Path) -> None:
    lines = run(version, empty_libraries, "-c", START).splitlines()
    assert [line.partition(" Fix: ")[0] for line in lines] == [
        f"TensorRT {version} does not start here: CUDA initialization failure with error: 35: {what}."
        for what in ("builder", "runtime", "runtime")
    ]


class Config:
    """As pybind describes a class."""

    def set_shape(self, *_: Any) -> None:
        """set_shape(*args, **kwargs)
        Overloaded function.

        1. set_shape(self: pkg.mod.Config, name: str, shape: tuple) -> bool

        2. set_shape(self: pkg.mod.Config, name: str, shape: List[int] = [1, 2]) -> bool
        """

    def _get(self) -> None:
        """(arg0: pkg.mod.Config) -> int"""

    def _set(self) -> None:
        """(arg0: pkg.mod.Config, arg1: typing.SupportsInt) -> None"""

    size = property(_get, _set)
    fixed = property(_get)


class Binding:
    Config = Config


@pytest.mark.parametrize(
    "call",
    [
        lambda config: config.set_shapes("x", (1,)),
        lambda config: config.set_shape(),
        lambda config: config.set_shape("x", (1,), 2),
        lambda config: config.set_shape("x", size=(1,)),
        lambda config: config.set_shape("x", ["1"]),
        lambda config: config.set_shape(b"x", (1,)),
        lambda config: config.set_shape("x", name="x"),
        lambda config: config.length,
        lambda config: setattr(config, "size", "2"),
        lambda config: setattr(config, "fixed", 2),
    ],
)
def test_a_call_that_no_overload_takes_is_refused(call: Any) -> None:
    config: Any = Double(Module(Binding, {}), Config)
    assert config.set_shape("x", (1,)) is True
    assert config.set_shape("x") is True
    assert config.set_shape("x", shape=[3]) is True
    config.size = 3
    with pytest.raises((AttributeError, TypeError)):
        call(config)
