"""Doctor: the probe network, runtimes that crash, hang or lie, and rows that other machines would give."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx.reference
import pytest

from ledgers import make_ledger
from lits_deploy import cgroup, doctor
from lits_deploy.doctor import check as check_module
from lits_deploy.doctor import cuda_devices, examine, folders, gpu, host, jobs, libraries, network, runtimes, trt
from lits_deploy.doctor.check import Check, without_names
from lits_deploy.doctor.child import SECONDS, ChildJob, run
from lits_deploy.errors import EngineError, MissingExtra
from lits_deploy.files import sha256_file
from lits_deploy.ledger import FILE_NAME, SCHEMA
from lits_deploy.trt.flavour import flavour_named
from recording_cuda import RecordingCuda
from scripts import script
from trt_fakes import FakeEngine, classifier_tensors, fake_library

ROOT = Path(__file__).parent.parent


def fake_module(folder: Path, name: str, code: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    return folder


def try_onnxruntime(seconds: float = 20.0, device: str = "cpu") -> Check:
    arguments = {"runtime": "onnxruntime", "device": device}
    function = "lits_deploy.doctor.runtimes:try_runtime"
    (found,) = run([ChildJob("runtimes", "onnxruntime on cpu", function, "install another", arguments, seconds)])
    return found


class TestProbe:
    def test_shipped_file_is_what_the_script_makes(self) -> None:
        shipped = onnx.load(network.MODEL)
        assert network.MODEL.stat().st_size <= 10_000
        assert sha256_file(network.MODEL) == network.MODEL_SHA256
        assert shipped == script("make_probe").probe()
        assert shipped.opset_import[0].version == 20
        assert [node.op_type for node in shipped.graph.node][:2] == ["Cast", "Slice"]

    def test_expected_answer_is_the_graphs_and_every_class_wins_once(self) -> None:
        reference = onnx.reference.ReferenceEvaluator(onnx.load(network.MODEL))
        _, probabilities = reference.run(None, {"slices": network.slices()})
        np.testing.assert_allclose(probabilities, network.EXPECTED, atol=1e-6)
        assert set(network.EXPECTED.argmax(axis=1)) == {0, 1, 2}


class TestRuntimes:
    def test_both_runtimes_of_this_machine_give_the_right_answer(self) -> None:
        found = run([job for job in jobs(Path()) if job.name in ("onnxruntime on cpu", "openvino on cpu")])
        assert [(check.state, check.works) for check in found if "missing" not in check.state]
        for check in found:
            if check.state != "missing":
                assert check.works, check.found
                assert check.details["passed"] is True
                assert check.details["max_delta"] < 1e-4

    @pytest.mark.parametrize(
        ("code", "state", "says"),
        [
            ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "broken", "SIGSEGV (it crashed)"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "broken", "newer processor"),
            ("import os; os._exit(3)", "broken", "exit code 3"),
            ("raise ImportError('libcudart.so.12: cannot open shared object file')", "broken", "libcudart.so.12"),
            ("raise RuntimeError", "broken", "RuntimeError"),
            ("__version__ = '0.1'", "broken", "SessionOptions"),
        ],
    )
    def test_a_library_that_breaks_is_a_row(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, state: str, says: str
    ) -> None:
        monkeypatch.syspath_prepend(fake_module(tmp_path, "onnxruntime", code))
        found = try_onnxruntime()
        assert (found.state, found.works) == (state, False)
        assert says in found.found
        assert found.fix

    def test_a_library_that_hangs_is_a_row_and_its_process_ends(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note = tmp_path / "pid"
        code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        monkeypatch.syspath_prepend(fake_module(tmp_path, "onnxruntime", code))
        began = time.perf_counter()
        found = try_onnxruntime(seconds=1.0)
        assert time.perf_counter() - began < 5
        assert (found.state, found.found) == ("broken", "no answer within 1 s")
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), signal.SIGCONT)

    def test_a_runtime_that_computes_something_else_is_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = fake_module(
            tmp_path,
            "onnxruntime",
            "import numpy as np, types\n"
            "__version__ = '9.9'\n"
            "SessionOptions = types.SimpleNamespace\n"
            "print('hello from a chatty library')\n"
            "class InferenceSession:\n"
            "    def __init__(self, *a, **k): pass\n"
            "    def get_providers(self): return ['CPUExecutionProvider']\n"
            "    def get_inputs(self): return [types.SimpleNamespace(name='slices')]\n"
            "    def run(self, wanted, feed):\n"
            "        n = len(feed['slices']); return [np.ones((n, 3), 'f4'), np.full((n, 3), 1 / 3, 'f4')]\n",
        )
        monkeypatch.syspath_prepend(fake)
        found = try_onnxruntime()
        assert (found.state, found.works) == ("broken", False)
        assert "computes something else" in found.found
        assert found.details["passed"] is False

    def test_an_empty_folder_left_by_a_second_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "onnxruntime").mkdir()
        own = [entry for entry in sys.path if "site-packages" not in entry]
        monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT), *own])
        found = try_onnxruntime()
        assert found.state == "broken"
        assert "empty folder" in found.found

    def test_nothing_installed_names_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
        monkeypatch.setattr(check_module, "gpu_here", lambda: False)
        (found,) = runtimes.try_runtime("onnxruntime", "cpu")
        assert (found.state, found.fix) == ("missing", "pip install 'lits-deploy[cpu]'")
        (found,) = runtimes.try_runtime("openvino", "cpu")
        assert found.fix == "pip install 'lits-deploy[openvino]'"
        monkeypatch.setattr(check_module, "gpu_here", lambda: True)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        (found,) = runtimes.try_runtime("onnxruntime", "cpu")
        assert found.fix == "pip install 'lits-deploy[gpu]'"

    def test_a_cpu_build_beside_an_nvidia_gpu_is_a_warning_with_the_fix(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = "__version__ = '9.9'\ndef get_available_providers(): return ['CPUExecutionProvider']\n"
        monkeypatch.syspath_prepend(fake_module(tmp_path, "onnxruntime", code))
        found = try_onnxruntime(device="cuda:0")
        assert found.state == "warning"
        assert "without CUDA" in found.found
        assert found.fix is not None
        assert found.fix.startswith("pip uninstall --yes onnxruntime && pip install ")

    def test_two_distributions_of_one_module_are_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = {"onnxruntime": "1.2", "onnxruntime-gpu": "1.3"}
        monkeypatch.setattr(runtimes, "version_of", versions.get)
        monkeypatch.setattr(check_module, "gpu_here", lambda: False)
        (found,) = runtimes.one_onnxruntime()
        assert found.state == "broken"
        assert found.fix == "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'lits-deploy[cpu]'"
        versions.pop("onnxruntime")
        assert runtimes.one_onnxruntime() == []


class TestTensorRt:
    """On a GPU in memory; the row of a real one has never been seen (docs/tensorrt.md)."""

    @pytest.fixture
    def answer(self, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
        """What the engine that is built and loaded answers to the probe's slices, to be changed by a test."""
        known, answers = network.slices(), network.EXPECTED.copy()

        def compute(slices: np.ndarray) -> dict[str, np.ndarray]:
            indices = [int((known == one).reshape(len(known), -1).all(axis=1).argmax()) for one in slices]
            return {"logits": answers[indices], "probabilities": answers[indices]}

        def build(use_gpu: Callable[[], None]) -> SimpleNamespace:
            use_gpu()
            assert cuda.calls == [("set_device", cuda.calls[0][1])] * 2  # of the building thread and of the caller's
            return SimpleNamespace(data=b"")

        cuda = RecordingCuda(devices=2)
        monkeypatch.setattr(trt.flavours, "installed", lambda _: True)
        monkeypatch.setattr(trt.flavours, "load", fake_library)
        monkeypatch.setattr(trt.bindings, "open_cuda", lambda: cuda)
        engine = FakeEngine(cuda, compute, classifier_tensors(network.SHAPE), max_batch=3)
        monkeypatch.setattr(trt, "build", lambda *_, use_gpu: build(use_gpu))
        monkeypatch.setattr(trt, "LoadedEngine", lambda *_: engine)
        return answers

    @pytest.mark.parametrize("flavour", ["tensorrt", "rtx"])
    def test_the_right_answer_on_a_gpu_works(self, flavour: str, answer: np.ndarray) -> None:
        (found,) = trt.try_flavour(flavour, 1)
        assert (found.state, found.works, found.fix) == ("ok", True, None), found
        assert found.name == f"{trt.TITLES[flavour]} on cuda:1"
        assert "on NVIDIA RTX A2000 gives the right answer" in found.found
        assert found.details["slices"] == 4

    def test_another_answer_is_broken(self, answer: np.ndarray) -> None:
        answer[3] = answer[3][[2, 0, 1]]  # the slice that comes alone
        (found,) = trt.try_flavour("tensorrt", 0)
        assert (found.state, found.works) == ("broken", False)
        assert "computes something else" in found.found
        assert found.fix == "pip install 'lits-deploy[trt]'"

    @pytest.mark.parametrize(
        ("error", "says", "fix"),
        [
            (EngineError("TensorRT does not load the engine: version."), "does not load", "lits-deploy[trt-rtx]"),
            (MissingExtra("cuda-bindings", "trt"), "cuda-bindings", "lits-deploy[trt-rtx]"),
            (RuntimeError("CUDA error 999"), "CUDA error 999", "pip install"),
        ],
    )
    def test_what_fails_on_a_gpu_is_a_row(
        self, answer: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str, fix: str
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(trt, "LoadedEngine", fail)
        monkeypatch.setattr(trt, "version_of", lambda _: None)
        (found,) = trt.try_flavour("rtx", 0)
        assert found.state == "broken"
        assert says in found.found
        assert fix in str(found.fix)

    def test_without_a_gpu_the_builder_of_rtx_is_tried(self) -> None:
        if not trt.flavours.installed(flavour_named("rtx")):
            pytest.skip("TensorRT for RTX is not installed (extra trt-rtx)")
        (found,) = run([_job("rtx", None)])
        assert (found.state, found.works) == ("ok", False), found
        assert "no NVIDIA GPU here to run on; it builds engines for sm75" in found.found
        assert found.details["seconds"] > 0

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trt.flavours, "installed", lambda _: False)
        cases = [(None, False), (0, False), (0, True)]
        rows = {case: row for case in cases for row in self._row(*case, monkeypatch)}
        assert [row.state for row in rows.values()] == ["not needed", "missing", "missing"]
        assert rows[None, False].fix is None
        assert rows[0, False].fix == "pip install 'lits-deploy[trt]'"
        assert rows[0, True].fix is None
        monkeypatch.setattr(check_module, "is_jetson", lambda: True)
        assert check_module.install_command("trt") == "pip install 'lits-deploy[jetson]'"  # pip has no TensorRT for it
        assert "part of JetPack" in rows[0, True].found

    def _row(self, device: int | None, jetson: bool, monkeypatch: pytest.MonkeyPatch) -> list[Check]:
        monkeypatch.setattr(trt, "is_jetson", lambda: jetson)
        return trt.try_flavour("tensorrt", device)

    def test_every_flavour_is_tried_on_every_gpu_with_time_to_build(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "cuda_devices", lambda: [0, 1])
        tried = {job.name: job for job in jobs(Path()) if job.function.endswith("trt:try_flavour")}
        assert list(tried) == ["tensorrt on cuda:0", "tensorrt on cuda:1", "rtx on cuda:0", "rtx on cuda:1"]
        assert {job.seconds for job in tried.values()} == {4 * SECONDS}
        monkeypatch.setattr(doctor, "cuda_devices", list)
        monkeypatch.setattr(doctor, "is_jetson", lambda: False)
        assert [job.name for job in jobs(Path()) if job.function.endswith("try_flavour")] == ["tensorrt", "rtx"]


def _job(flavour: str, device: int | None) -> ChildJob:
    arguments = {"flavour": flavour, "device": device}
    return ChildJob("runtimes", flavour, "lits_deploy.doctor.trt:try_flavour", arguments=arguments)


class TestGpu:
    @pytest.fixture
    def smi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An nvidia-smi of an old driver (no compute_cap) with a throttled card, first on the path."""
        path = tmp_path / "nvidia-smi"
        path.write_text(
            "#!/bin/sh\n"
            'case "$1" in\n'
            "  *compute_cap*) echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2;;\n"
            "  --query-gpu*) echo '0, NVIDIA L4, 23034, 22000, 495.44, Disabled, 50.00, 72.00';\n"
            "                echo '1, NVIDIA T4, 15360, 15000, 495.44, Enabled, 70.00, 70.00';;\n"
            "  *) echo '| NVIDIA-SMI 495.44   Driver Version: 495.44   CUDA Version: 11.5 |';;\n"
            "esac\n"
        )
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(gpu, "gpu_here", lambda: True)
        monkeypatch.setattr(gpu, "is_jetson", lambda: False)
        return path

    def test_rows_of_an_old_driver(self, smi: Path) -> None:
        rows = {row.name: row for row in gpu.gpus()}
        assert rows["driver"].found == "NVIDIA 495.44, runs CUDA up to 11.5"
        assert rows["gpu 0"].found == "NVIDIA L4, 23,034 MiB (22,000 free)"
        assert rows["gpu 0 power"].state == "warning"
        assert rows["gpu 0 power"].fix == "sudo nvidia-smi -i 0 -pl 72 && sudo nvidia-smi -i 0 -pm 1"
        assert (rows["gpu 1 power"].state, rows["gpu 1 power"].fix) == ("ok", None)

    def test_a_driver_that_does_not_answer(self, smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")

        def no_library() -> None:
            raise OSError("libcuda.so.1: cannot open shared object file")

        monkeypatch.setattr(gpu, "query_libcuda", no_library)
        rows = {row.name: row for row in gpu.gpus()}
        assert rows["nvidia-smi"].state == rows["driver"].state == "broken"
        assert "NVIDIA-SMI has failed" in rows["nvidia-smi"].found
        assert "libcuda.so.1" in rows["driver"].found

    def test_a_jetson_in_a_power_saving_mode(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = {
            "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64",
            "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit",
        }
        monkeypatch.setattr(gpu, "_text", lambda path: texts.get(str(path), ""))
        nvpmodel = tmp_path / "nvpmodel"
        nvpmodel.write_text("#!/bin/sh\necho 'NV Power Mode: 7W'\necho 1\n")
        nvpmodel.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(gpu, "is_jetson", lambda: True)
        monkeypatch.setattr(gpu, "gpu_here", lambda: False)
        one = [{"index": "0", "name": "Orin", "memory.total": "7620", "compute_cap": "8.7"}]
        monkeypatch.setattr(gpu, "query_libcuda", lambda: (one, "12.6"))
        rows = {row.name: row for row in gpu.gpus()}
        assert rows["jetson"].found == "NVIDIA Jetson Orin Nano Developer Kit, Jetson Linux 36.4.3"
        assert rows["power mode"].state == "warning"
        assert "7W" in rows["power mode"].found
        assert rows["gpu 0"].found == "Orin, 7,620 MiB, compute capability 8.7"

    def test_devices_are_those_that_programs_may_see(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lits_deploy.doctor.gpu_here", lambda: True)
        monkeypatch.setattr(os, "listdir", lambda folder: ["nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"])
        for chosen, count in ((None, 3), ("1", 1), ("0,2", 2), ("", 0), ("-1", 0), ("0,-1,1", 1)):
            if chosen is None:
                monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            else:
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
            assert len(cuda_devices()) == count, chosen
        monkeypatch.setattr("lits_deploy.doctor.gpu_here", lambda: False)
        assert cuda_devices() == []


class TestHost:
    def test_a_quota_below_the_cores_is_said_with_what_follows_from_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
        monkeypatch.setattr(cgroup, "cpu_quota", lambda: 2.5)
        rows = {row.name: row for row in host.checks("ascii")}
        assert rows["cores"].state == "ok"
        assert "for the time of 2.5 (cgroup's quota)" in rows["cores"].found
        assert rows["cores"].found.endswith("are counted for 3")
        assert rows["cores"].details["used"] == 3
        assert rows["encoding"].state == "warning"

    def test_a_look_that_fails_is_its_row_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "processor", lambda: 1 / 0)
        rows = {row.name: row for row in host.checks("utf-8")}
        assert "ZeroDivisionError" in rows["processor"].found
        assert rows["python"].state == "ok"


class TestFolders:
    MOUNTS = (
        "/dev/sda1 / ext4 rw 0 0\nserver:/export /data nfs4 rw 0 0\n//nas/share /mnt/my\\040share cifs rw 0 0\n"
        "tmpfs /data/fast tmpfs rw 0 0\nnext /data/twice nfs4 rw 0 0\nover /data/twice xfs rw 0 0\n"
    )

    @pytest.mark.parametrize(
        ("path", "kind", "network"),
        [
            ("/home/x", "ext4", False),
            ("/data/results", "nfs4", True),
            ("/database", "ext4", False),
            ("/mnt/my share/out", "cifs", True),
            ("/data/fast/x", "tmpfs", False),
            ("/data/twice", "xfs", False),
        ],
    )
    def test_file_system_of_a_path(self, path: str, kind: str, network: bool) -> None:
        assert folders.file_system(Path(path), self.MOUNTS) == kind
        assert folders.is_network(kind) is network

    def test_an_ordinary_folder_and_nothing_is_left_in_it(self, tmp_path: Path) -> None:
        rows = folders.out_folder(str(tmp_path / "not" / "yet"))
        assert [(row.name, row.state) for row in rows] == [("output", "ok"), ("ledger", "ok")]
        assert list(tmp_path.iterdir()) == []

    def test_a_network_share_is_a_warning_even_if_it_worked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folders, "file_system", lambda path: "nfs4")
        _, ledger = folders.out_folder(str(tmp_path))
        assert ledger.state == "warning"
        assert ledger.fix is not None
        assert "--ledger" in ledger.fix

    def test_a_disk_without_wal_or_locks_is_broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = sqlite3.connect

        def share(path: Path, **more: object) -> sqlite3.Connection:
            return real(":memory:", isolation_level=None)  # its journal mode is `memory`, whatever is asked for

        monkeypatch.setattr(sqlite3, "connect", share)
        _, ledger = folders.out_folder(str(tmp_path))
        assert (ledger.state, "not WAL" in ledger.found) == ("broken", True)
        monkeypatch.setattr(folders.fcntl, "flock", lambda *a: (_ for _ in ()).throw(OSError(37, "No locks available")))
        _, ledger = folders.out_folder(str(tmp_path))
        assert "No locks available" in ledger.found
        assert list(tmp_path.iterdir()) == []

    def test_the_ledger_of_a_run_is_looked_at_and_left_as_it_is(self, tmp_path: Path) -> None:
        make_ledger(tmp_path, series=1, slices=4, overlay=None).close()
        path = tmp_path / FILE_NAME
        whole = path.read_bytes()
        assert _of_a_run(tmp_path) == ("ok", "its pages and all its rows are what was written", None)
        assert path.read_bytes() == whole
        path.write_bytes(whole.replace(b"the file is empty", b"the file is EMPTY"))
        state, found, fix = _of_a_run(tmp_path)
        assert (state, found) == ("broken", "damaged (the rows of file 3 are not those that were written)")
        assert fix == "put a copy of it in its place, or classify --overwrite: all is done again"
        path.write_bytes(whole[:60] + (3).to_bytes(4, "big") + whole[64:])  # user_version
        state, found, fix = _of_a_run(tmp_path)
        assert state == "broken"
        assert f"(schema 3; this one reads {SCHEMA})" in found
        assert "--overwrite" in str(fix)
        path.write_bytes(b"no database" * 500)
        state, found, fix = _of_a_run(tmp_path)
        assert (state, found) == ("broken", "damaged (file is not a database)")

    def test_a_file_and_a_folder_that_may_not_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (row,) = folders.out_folder(str(tmp_path / "file"))
        assert row.state == "broken"
        if os.geteuid():
            tmp_path.chmod(0o555)
            (row,) = folders.out_folder(str(tmp_path))
            assert "cannot be written" in row.found


class TestLibraries:
    def test_requirements_by_extra(self) -> None:
        groups = libraries.grouped(
            [
                "numpy>=1.26",
                "torch>=2.9; extra == 'train'",
                'onnxruntime-gpu[cuda,cudnn]>=1.20 ; extra == "gpu"',
                "lits-deploy[train]; extra == 'export'",
                "onnx>=1.17; extra == 'export'",
            ]
        )
        assert groups == {
            "": {"numpy": "1.26"},
            "train": {"torch": "2.9"},
            "gpu": {"onnxruntime-gpu": "1.20"},
            "export": {"torch": "2.9", "onnx": "1.17"},
        }

    @pytest.mark.parametrize(
        ("have", "want", "older"),
        [
            ("3.0.1", "3.0.2", True),
            ("3.0.2", "3.0.2", False),
            ("3.10", "3.9", False),
            ("2.9.1+cu130", "2.9", False),
            ("2.0rc1", "2.0", False),
            ("1.26", "1.26.0", False),
            ("1.0", "", False),
            ("unknown", "1", False),
        ],
    )
    def test_versions(self, have: str, want: str, older: bool) -> None:
        assert libraries.is_older(have, want) is older

    def test_states(self, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = {"pydicom": "3.0.1", "openvino": "2025.1"}
        monkeypatch.setattr(libraries, "version_of", versions.get)
        old = libraries.look("", {"pydicom": "3.0.2"})
        assert (old.state, old.fix) == ("warning", "pip install --upgrade lits-deploy")
        assert "too old: pydicom 3.0.1 (needs 3.0.2)" in old.found
        assert libraries.look("", {"numpy": ""}).state == "broken"
        assert libraries.look("openvino", {"openvino": "2024.6"}).state == "ok"
        missing = libraries.look("watch", {"watchfiles": "0.24"})
        assert (missing.state, missing.fix) == ("missing", "pip install 'lits-deploy[watch]'")
        monkeypatch.setattr(libraries, "gpu_here", lambda: False)
        unused = libraries.look("trt", {"tensorrt": "10.3"})
        assert (unused.state, unused.found, unused.fix) == ("not needed", "of use with an NVIDIA GPU", None)

    def test_every_extra_of_the_project_is_a_row(self) -> None:
        names = {row.name for row in libraries.checks()}
        assert {"base", "[cpu]", "[gpu]", "[openvino]", "[train]", "[export]"} <= names


def test_a_check_imports_nothing_that_the_environment_puts_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from lits_deploy.doctor.check import Check\n"
    code += "def said(): return [Check('said', 'ok', 'it ran')]"
    monkeypatch.syspath_prepend(fake_module(tmp_path / "ours", "harmless", code))
    decoys = tmp_path / "decoys"
    decoys.mkdir()
    for name in ("sitecustomize", "json"):
        (decoys / f"{name}.py").write_text(f"import os\nos.mkdir({str(tmp_path / f'imported {name}')!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(decoys))
    (found,) = run([ChildJob("machine", "said", "harmless:said")])
    assert not list(tmp_path.glob("imported *"))
    assert found.found == "it ran"


def test_names_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/hildegard")
    monkeypatch.setenv("USER", "hildegard")
    monkeypatch.setattr("platform.node", lambda: "ward7.clinic.example")
    details = {"where": ["/home/hildegard", "ward7"], "n": 3}
    row = Check("output", "ok", "/home/hildegard/out: 3 GB", "see /data/hildegard/x", details=details)
    monkeypatch.setattr(doctor, "run", lambda jobs: [row])
    (clean,) = examine(Path()).checks
    assert clean.found == "~/out: 3 GB"
    assert clean.fix == "see /data/USER/x"
    assert clean.details == {"where": ["~", "HOST"], "n": 3}
    assert without_names()("on ward7.clinic.example: /home/hildegardis") == "on HOST: /home/hildegardis"
    assert without_names()("ward70 forward7") == "ward70 forward7"


def test_everything_at_once_in_a_few_seconds(tmp_path: Path) -> None:
    report = examine(tmp_path / "out")
    assert report.working
    assert {check.section for check in report.checks} == {"runtimes", "gpu", "machine", "folders", "libraries"}
    assert not [check for check in report.checks if "the check itself failed" in check.found]
    assert list(tmp_path.iterdir()) == []


def test_needs_neither_numpy_nor_torch_itself(tmp_path: Path) -> None:
    """On a box with Python, typer and rich alone doctor still answers: rows say that numpy is not there."""
    for name in ("numpy", "torch", "onnxruntime", "openvino", "PIL", "pyarrow"):
        fake_module(tmp_path, name, f"raise ModuleNotFoundError('No module named {name!r}', name={name!r})")
    done = subprocess.run(
        [sys.executable, "-m", "lits_deploy", "doctor", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "No runtime works here" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "numpy" in done.stdout


def _of_a_run(folder: Path) -> tuple[str, str, str | None]:
    (row,) = (row for row in folders.out_folder(str(folder)) if row.name == "ledger of a run")
    return row.state, row.found, row.fix
