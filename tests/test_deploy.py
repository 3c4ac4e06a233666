"""What is installed on an edge box: the night's script with a real bundle, and the unit, timer and container file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

from lits_deploy import __version__, exits
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.watch.changes import POLL_S
from pictures import grey_pixels, save
from scripts import script
from tiny_bundle import make_tiny_bundle

DEPLOY = Path(__file__).parent.parent / "deploy"
UNITS = ("lits-deploy-nightly", "lits-deploy-watch")
"""The services that compute; lits-deploy-gpu prepares the machine for them."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("deploy") / "bundle", size=64, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans of tonight"
    for index in range(3):
        save(folder / f"{index}.png", grey_pixels(64, index))  # a flat one would be excluded: no body in it
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "lits-deploy"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m lits_deploy "$@"\n')
    path.chmod(0o755)
    return path


def nightly(program: Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LITS_DEPLOY": str(program), **{name: str(value) for name, value in variables.items()}}
    return subprocess.run([DEPLOY / "nightly.sh"], env=environment, capture_output=True, text=True, timeout=120)


def test_a_night_verifies_and_then_classifies(bundle: Bundle, scans: Path, program: Path, tmp_path: Path) -> None:
    paths = {"BUNDLE": bundle.folder, "SCANS": scans, "OUT": tmp_path / "out", "METRICS": tmp_path}
    done = nightly(program, **paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("verified") < done.stdout.index("3 slices in")
    assert len((tmp_path / "out" / "slices.csv").read_text().splitlines()) == 4
    (scans / "bad.png").write_bytes(b"not a picture")
    done = nightly(program, **paths)  # the next night goes on
    assert done.returncode == 4, "one failed file is a row"
    assert "3 before" in done.stdout
    for command, code in (("verify", 0), ("classify", 4)):
        assert f'last_exit_code{{command="{command}"}} {code}\n' in (tmp_path / f"{command}.prom").read_text()


def test_a_bundle_that_does_not_hold_ends_the_night_with_3(
    bundle: Bundle, scans: Path, program: Path, tmp_path: Path
) -> None:
    altered = tmp_path / "altered"
    shutil.copytree(bundle.folder, altered)
    with (altered / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    done = nightly(program, BUNDLE=altered, SCANS=scans, OUT=tmp_path / "out")
    assert done.returncode == 3
    assert not (tmp_path / "out").exists()


def test_no_crash_is_a_success(tmp_path: Path) -> None:
    """Of the program, of Python before it, of a library beneath it."""
    stub = tmp_path / "stub"
    crashes = (1, 2, 3, 70, 126, 127, 134, 136, 137, 139)
    for code in crashes:
        stub.write_text(f"#!/bin/sh\n[ $1 = verify ] || exit {code}\n")
        stub.chmod(0o755)
        assert nightly(stub, BUNDLE="b", SCANS="s", OUT="o").returncode == code
    for unit in UNITS:
        success = {*settings_of(unit)["SuccessExitStatus"].split()}
        assert not {*map(str, crashes)} & success
        assert {"129", "130", "143"} <= success


def test_every_setting_reaches_the_command(tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.write_text('#!/bin/sh\nprintf "<%s>" "$@"; echo\n')
    stub.chmod(0o755)
    settings = {"RUNTIME": "tensorrt", "DEVICE": "cuda", "PRECISION": "fp16", "FORMATS": "csv,parquet"}
    done = nightly(stub, BUNDLE="b", SCANS="s c", OUT="o", ENGINE_CACHE="e f", **settings)
    assert done.stdout.splitlines() == [
        "<verify><b><--engine-cache><e f>",
        "<classify><b><s c><--out><o><--runtime><tensorrt><--device><cuda><--format><csv,parquet>"
        "<--engine-cache><e f><--precision><fp16>",
    ]
    done = nightly(stub, BUNDLE="b", SCANS="s", OUT="o", METRICS="m n", LOG_FORMAT="json", LOG_FILE="l")
    assert done.stdout.splitlines() == [
        "<verify><b><--log-format><json><--log-file><l><--metrics><m n/verify.prom>",
        "<classify><b><s><--out><o><--runtime><auto><--device><auto><--format><csv>"
        "<--log-format><json><--log-file><l><--metrics><m n/classify.prom>",
    ]
    done = nightly(stub, BUNDLE="b", SCANS="")
    assert done.returncode == 2
    assert "SCANS is not set. Fix: " in done.stderr


def test_settings_file_names_what_the_script_reads() -> None:
    script, settings = ((DEPLOY / name).read_text() for name in ("nightly.sh", "nightly.env"))
    named = set(re.findall(r"^#?([A-Z_]+)=", settings, re.MULTILINE))
    assert named == {
        "BUNDLE",
        "SCANS",
        "OUT",
        "RUNTIME",
        "DEVICE",
        "PRECISION",
        "FORMATS",
        "ENGINE_CACHE",
        "LITS_DEPLOY",
        "LOG_FORMAT",
        "LOG_FILE",
        "METRICS",
    }
    assert all(name in script for name in named)
    assert "Not a medical device" in settings


def settings_of(unit: str) -> dict[str, str]:
    """The settings of a unit, the last of each name."""
    lines = (DEPLOY / f"{unit}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_may_do_no_more_than_it_needs(unit: str) -> None:
    settings = settings_of(unit)
    assert settings["SystemCallFilter"] == "@system-service"
    assert settings["SystemCallArchitectures"] == "native"
    assert settings["LimitCORE"] == "0"
    assert settings["MemoryMax"].endswith("%")
    assert settings["OOMPolicy"] == "continue", "one decoder is ended, not the run"
    assert settings["UMask"] == "0077"
    assert settings["KillMode"] == "mixed"
    yes = ("PrivateNetwork", "NoNewPrivileges", "PrivateTmp", "ProtectHome", "LockPersonality", "RestrictNamespaces")
    assert {settings[name] for name in yes} == {"yes"}
    assert settings["ProtectSystem"] == "strict"


BLOCKS_THE_GPU = {
    # An allow-list of devices, or what brings one in some systemd (unit_patch_contexts; ProtectClock up to 251).
    *("DevicePolicy", "DeviceAllow", "PrivateDevices", "ProtectClock", "RootImage", "MountImages", "ExtensionImages"),
    *("LoadCredentialEncrypted", "SetCredentialEncrypted", "ImportCredential", "BPFProgram"),
    # Another /dev or /proc than the machine's, or less of it.
    *("RootDirectory", "InaccessiblePaths", "TemporaryFileSystem", "ProcSubset", "RestrictFileSystems"),
    *("PrivateUsers", "DynamicUser"),  # the account's groups, video and render, are lost
    *("MemoryDenyWriteExecute", "LimitAS"),  # what CUDA needs of memory
}


@pytest.mark.parametrize("unit", [*UNITS, "lits-deploy-gpu"])
def test_no_setting_of_a_unit_keeps_it_from_the_gpu(unit: str) -> None:
    assert not BLOCKS_THE_GPU & {*settings_of(unit)}


def test_the_gpu_is_loaded_by_root_before_a_service_that_may_not() -> None:
    """NoNewPrivileges takes the setuid bit from nvidia-modprobe: no /dev/nvidia-uvm after a boot without a screen."""
    for unit in UNITS:
        settings = settings_of(unit)
        assert settings["NoNewPrivileges"] == "yes"
        assert settings["Wants"] == "lits-deploy-gpu.service"
        assert "lits-deploy-gpu.service" in settings["After"].split()
    settings = settings_of("lits-deploy-gpu")
    assert (settings["Type"], settings["RemainAfterExit"]) == ("oneshot", "yes")
    assert not {"User", "CapabilityBoundingSet", "ProtectKernelModules"} & {*settings}, "modules are loaded by root"
    commands = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "lits-deploy-gpu.service").read_text(), re.MULTILINE)
    assert "-/usr/bin/nvidia-modprobe -u -c 0" in commands
    assert all(command.startswith("-/") for command in commands), "a machine without it still starts the service"
    docs = (DEPLOY.parent / "docs" / "jetson.md").read_text()
    assert len(re.findall(r"install .*deploy/lits-deploy-gpu\.service", docs)) == 2


def test_the_watch_starts_again_unless_it_was_stopped() -> None:
    """By the program's own codes: what a signal ends is a success, which `on-failure` leaves alone."""
    settings = settings_of("lits-deploy-watch")
    assert (settings["Type"], settings["Restart"]) == ("notify", "on-failure")
    assert int(settings["WatchdogSec"]) > 2 * POLL_S[1], "an idle watch turns up at each look"
    assert settings["SuccessExitStatus"].split() == [str(exits.of_signal(number)) for number in (1, 2, 15)]
    read = set(re.findall(r"\$\{?([A-Z_]+)", settings["ExecStart"] + settings["ExecStartPre"]))
    assert read == set(re.findall(r"^([A-Z_]+)=", (DEPLOY / "watch.env").read_text(), re.MULTILINE))
    options = CliRunner().invoke(app, ["watch", "--help"]).output
    assert all(word in options for word in re.findall(r"--[a-z-]+", settings["ExecStart"]))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_no_fault_in_units_and_timer(tmp_path: Path) -> None:
    for path in DEPLOY.glob("*.*"):
        text = path.read_text().replace("/opt/lits-deploy", str(tmp_path))
        (tmp_path / path.name).write_text(text)
    (tmp_path / "nightly.sh").chmod(0o755)
    program = tmp_path / "venv" / "bin" / "lits-deploy"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = [str(path) for kind in ("service", "timer") for path in tmp_path.glob(f"*.{kind}")]
    assert len(units) == 4
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_little_exposure_and_no_device_list(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--json=short", "--threshold=16"]  # 1.6 of 10
    try:
        done = subprocess.run([*command, str(DEPLOY / f"{unit}.service")], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("systemd is not here")
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd is older than 250, which reads unit files that are not installed")
    assert done.returncode == 0, done.stderr
    assert not {row["json_field"]: row["set"] for row in json.loads(done.stdout)}["DeviceAllow"]


REQUIREMENTS = sorted((DEPLOY / "requirements").glob("*.txt"))
PINNED = re.compile(r"# (\S+\.whl)\n([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}\n")


TARGETS = script("edge_requirements").TARGETS


def test_there_is_a_requirements_file_for_every_target_and_the_docs_use_them() -> None:
    docs = (DEPLOY.parent / "docs" / "jetson.md").read_text()
    assert [path.stem for path in REQUIREMENTS] == sorted(TARGETS)
    assert all(f"`{path.name}`" in docs for path in REQUIREMENTS)
    assert docs.count("--require-hashes") == 3


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_wheel_of_an_edge_box_is_pinned_by_its_hash_and_fits(path: Path) -> None:
    python, machine, extras = TARGETS[path.stem]
    text = path.read_text()
    body = text.partition("\n# Made by ")[2].partition("\n")[2]
    assert PINNED.sub("", body) == "", "every line is a pinned wheel or its file's name; no address of a registry"
    pins = {name: (file, version) for file, name, version in PINNED.findall(body)}
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, asked):
        if requirement.marker and not requirement.marker.evaluate({"python_version": python}):
            continue
        assert requirement.specifier.contains(pins[requirement.name][1]), str(requirement)
    tag = f"cp{python.replace('.', '')}"
    for file, _ in pins.values():
        *_, abi, _, platform = file.removesuffix(".whl").split("-")
        assert platform == "any" or machine in platform, file
        assert tag in abi or abi in ("py3", "py2.py3") or re.match(r"cp3\d+$", abi), file


def test_gdcm_starts_after_its_fixes() -> None:
    """CVE-2025-52582 was the last of 2025's to be mended, in GDCM 3.2.6."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    (gdcm,) = (line for line in map(Requirement, project["dependencies"]) if line.name == "python-gdcm")
    assert not any(gdcm.specifier.contains(version) for version in ("3.0.24", "3.0.26", "3.2.2", "3.2.5"))
    assert gdcm.specifier.contains("3.2.6")


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_one_distribution_brings_cuda_and_on_a_jetson_one_no_newer_than_its_driver(python: str) -> None:
    """Before 12.8 `cuda-python` held the modules that `cuda-bindings` holds now: both together overwrite each other."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    constraints = map(Requirement, (DEPLOY.parent / "constraints.txt").read_text().splitlines()[1:])
    tested = {pin.name: str(pin.specifier).removeprefix("==") for pin in constraints}
    for extra, lines in project["optional-dependencies"].items():
        asked = [Requirement(line) for line in lines]
        here = [one for one in asked if one.marker is None or one.marker.evaluate({"python_version": python})]
        cuda = {one.name: one.specifier for one in here if one.name in ("cuda-python", "cuda-bindings")}
        assert len(cuda) == (extra in ("gpu", "trt", "trt-rtx", "jetson")), extra
        if extra == "jetson":
            name, newer, fits = (
                ("cuda-bindings", "13.2.0", "13.0.3") if python == "3.12" else ("cuda-python", "12.8.0", "12.6.2.post1")
            )
            assert cuda[name].contains(fits)
            assert not cuda[name].contains(newer)
        elif cuda:
            assert cuda["cuda-bindings"].contains(tested["cuda-bindings"]), extra


def test_container_can_be_fixed_to_a_digest_and_invents_none() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert re.search(r"^ARG BASE_DIGEST=\nFROM \$\{BASE\}\$\{BASE_DIGEST:\+@\$\{BASE_DIGEST\}\}$", text, re.MULTILINE)
    assert "skopeo inspect" in text
    assert not re.search(r"sha256:[0-9a-f]", text)


def test_container_installs_from_the_wheelhouse_alone_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert "--no-index --find-links /wheelhouse" in text
    assert "--require-hashes --requirement /wheelhouse/requirements.txt" in text
    assert all("--no-index" in line for line in text.splitlines() if "pip install" in line)
    (user,) = re.findall(r"^USER (\d+)$", text, re.MULTILINE)
    assert f"useradd --system --uid {user} --groups video " in text, "else it may not open a Jetson's GPU"
    copied = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert all((DEPLOY.parent / name).is_file() for name in copied)


def test_the_kubernetes_job_fits_its_schema_and_our_command() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes" / "shards.yaml").read_text())
    kubernetes_validate.validate(job, "1.33", strict=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"/lits-deploy:{__version__}")
    assert job["spec"]["completionMode"] == "Indexed"
    _takes(container["args"])
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert {word for word in container["args"] if word.startswith("/")} <= mounted
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in job["spec"]["template"]["spec"]["volumes"]
    }


def test_the_slurm_script_types_our_command(tmp_path: Path) -> None:
    """`srun` stands in for Slurm's own, which runs its arguments here."""
    script = DEPLOY / "slurm" / "shards.sbatch"
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, line in (("srun", 'exec "$@"'), ("lits-deploy", 'printf "%s\\n" "$@"')):
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "BUNDLE": "b", "JOB": "j", "SLURM_CPUS_PER_TASK": "2"}
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=True)
    _takes(done.stdout.split())
    del environment["JOB"]
    assert subprocess.run(["bash", str(script)], env=environment, capture_output=True).returncode != 0


def test_the_ray_cluster_file_is_what_ray_takes() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util", reason="needs the extra `ray`")
    cluster = util.prepare_config(yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text()))
    util.validate_config(cluster)


def _takes(arguments: list[str]) -> None:
    """Our command line knows every option among these."""
    shown = CliRunner().invoke(app, [arguments[0], "--help"], env={"COLUMNS": "200"}).output
    assert arguments[0] == "classify"
    assert [word for word in arguments if word.startswith("--") and word not in shown] == []
