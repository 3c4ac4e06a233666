"""The arrows of the design: what an import drags in, where packages come from, no circle of files."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

LISTS = ("lits_deploy.cli.app", "lits_deploy.cli.config_file", "lits_deploy.cli.lazy")
OURS = ("lits_deploy", "train", "export", "benchmarks")
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "tensorrt", "pyarrow", "matplotlib")

HELPS = ("train", "reproduce table5", "data prepare", "export", "evaluate", "benchmark", "choose", "demo", "classify")


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import lits_deploy",
        "import lits_deploy.bundle, lits_deploy.verify, lits_deploy.runtime, lits_deploy.pipeline.run",
        "import train, train.models.registry, train.data.layout",
        "import benchmarks",
    ],
)
def test_light_imports_stay_light(code: str) -> None:
    assert not modules_after(code) & set(HEAVY)


def test_a_machine_without_a_gpu_starts_without_our_tensorrt() -> None:
    loaded = modules_after(
        "from lits_deploy import backends, nvidia\nnvidia.gpu_here = lambda: False\n"
        "import lits_deploy.pipeline.run\nbackends.resolve('auto', 'auto'), backends.targets()"
    )
    assert "lits_deploy.backends" in loaded
    assert not {name for name in loaded if name.startswith("lits_deploy.trt")}


def test_help_imports_no_numpy_and_no_command() -> None:
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "try:\n    from lits_deploy.__main__ import main; main()\nexcept SystemExit: pass"
    )
    loaded = modules_after(code)
    assert "numpy" not in loaded
    assert not {name for name in loaded if ".cli." in name and name.split(".")[0] in OURS and name not in LISTS}


@pytest.mark.parametrize("launch", [["-m", "lits_deploy"], ["-c", "from lits_deploy.__main__ import main; main()"]])
def test_a_train_py_in_the_current_folder_is_not_ours(tmp_path: Path, launch: list[str]) -> None:
    for name in ("train", "export", "benchmarks", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')\n")
    done = subprocess.run([sys.executable, *launch, "models"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "resnet18" in done.stdout


def imports_of(root: Path) -> dict[str, set[str]]:
    """Each module of ours and the modules of ours that it imports, in functions and for types alone too."""
    found = {
        path: path.relative_to(root).with_suffix("").parts for name in OURS for path in (root / name).rglob("*.py")
    }
    files = {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in found.items()}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        graph[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[module] |= inner & files.keys() or {node.module}
        graph[module] &= files.keys() - {module}
    return graph


def test_no_circle_of_files_and_nothing_imports_the_command_line() -> None:
    graph = imports_of(Path(__file__).parent.parent)
    assert len(graph) > 100
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names a circle
    for package in OURS:
        cli = {module for module in graph if module.startswith(f"{package}.cli")}
        others = {module: graph[module] & cli for module in graph.keys() - cli if module.startswith(f"{package}.")}
        users = {module for module, found in others.items() if found}
        assert users <= {"lits_deploy.__main__"}


def test_a_circle_of_files_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "train"
    package.mkdir()
    (package / "one.py").write_text("def f():\n    from train.two import g\n")
    (package / "two.py").write_text("from train import one\n")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(imports_of(tmp_path)).prepare()


@pytest.mark.parametrize("command", HELPS)
def test_a_commands_help_needs_no_extra_and_no_numpy(command: str) -> None:
    """On a machine without any extra, `--help` of each command answers, and without numpy: at once."""
    missing = (*HEAVY, "torch", "onnxscript", "safetensors", "openvino", "scipy", "psutil", "highdicom")
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({missing}))\nsys.argv[1:] = {[*command.split(), '--help']}\n"
        "try:\n    from lits_deploy.__main__ import main; main()\nexcept SystemExit as end: assert not end.code"
    )
    assert "numpy" not in modules_after(code)


def test_a_night_without_a_report_loads_no_reader_and_no_page(tmp_path: Path) -> None:
    """Decode workers read the files; what the program itself loads would stay in memory all night."""
    bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56).folder
    scans = folder_of_slices(tmp_path / "scans", 2)
    arguments = ["classify", str(bundle), str(scans), "--out", str(tmp_path / "out"), "--no-report"]
    loaded = modules_after(f"from lits_deploy.cli.app import run\nassert run({arguments!r}) == 0")
    assert "lits_deploy.pipeline.run" in loaded
    assert not loaded & {
        "pydicom",
        "nibabel",
        "jinja2",
        "requests",
        "lits_deploy.segmentation",
        "lits_deploy.report.page",
    }
