"""The arrows of the design, at run time: what an import drags in, and where packages come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LISTS = ("lits_deploy.cli.app", "lits_deploy.cli.lazy")
OURS = ("lits_deploy", "train", "export", "benchmarks")
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "tensorrt", "pyarrow", "matplotlib")


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
