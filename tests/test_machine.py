"""How many cores a process may count on, by affinity and by cgroups of either version, however deep it lies in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lits_deploy import cgroup, machine
from lits_deploy.cgroup import cpu_quota, memory_limit
from lits_deploy.decode import settings
from lits_deploy.pipeline import defaults

GIB = 1 << 30
V1 = {"cpu,cpuacct": "4:cpu,cpuacct", "cpu": "4:cpuacct,cpu"}
"""Folder of the mount → how /proc/self/cgroup calls the controller: the order of words is the kernel's."""


def member_of(folder: Path, *lines: str) -> Path:
    own = folder / "own"
    own.write_text("\n".join([*lines, ""]))
    return own


def v2(group: Path, quota: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.max").write_text(f"{quota}\n")


def v1(group: Path, quota_us: int, period_us: int = 100_000) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
    (group / "cpu.cfs_period_us").write_text(f"{period_us}\n")


def memory_v1(group: Path, limit: int, used: int, droppable: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"cache 1\ntotal_inactive_file {droppable}\n")


class TestQuota:
    @pytest.mark.parametrize("below", ["", "unified"], ids=["v2", "v2 beside v1"])
    def test_of_nested_groups_the_tightest_holds(self, tmp_path: Path, below: str) -> None:
        mount, own = tmp_path / "cgroup", member_of(tmp_path, "1:name=systemd:/", "0::/a.slice/b.service/c")
        top = mount / below
        v2(top / "a.slice" / "b.service" / "c", "max 100000")
        v2(top / "a.slice" / "b.service", "400000 100000")
        v2(top / "a.slice", "max 100000")
        v2(top / "elsewhere", "10000 100000")
        assert cpu_quota(mount, own) == 4.0
        v2(top / "a.slice", "75000 50000")
        assert cpu_quota(mount, own) == 1.5

    @pytest.mark.parametrize("folder", V1)
    def test_v1(self, tmp_path: Path, folder: str) -> None:
        mount, own = tmp_path / "cgroup", member_of(tmp_path, f"{V1[folder]}:/docker/abc", "0::/")
        v1(mount / folder / "docker" / "abc", -1)
        v1(mount / folder / "docker", 50_000, 20_000)
        v1(mount / folder, -1)
        assert cpu_quota(mount, own) == 2.5

    @pytest.mark.parametrize("path", ["/docker/of/the/host", "/../../above"])
    def test_a_container_sees_its_limit_at_the_top_of_the_mount(self, tmp_path: Path, path: str) -> None:
        mount = tmp_path / "cgroup"
        v2(mount, "50000 100000")
        assert cpu_quota(mount, member_of(tmp_path, f"0::{path}")) == 0.5
        old = tmp_path / "old"
        v1(old / "cpu", 150_000)
        v1(tmp_path / "above", 10_000)
        assert cpu_quota(old, member_of(tmp_path, f"3:cpu:{path}")) == 1.5

    def test_what_says_nothing_limits_nothing(self, tmp_path: Path) -> None:
        mount, own = tmp_path / "cgroup", member_of(tmp_path, "0::/", "2:cpu:/", "no line of a cgroup")
        assert cpu_quota(mount, own) is None
        assert cpu_quota(mount, tmp_path / "missing") is None
        v2(mount, "max 100000")
        v1(mount / "cpu", 100_000, 0)
        assert cpu_quota(mount, own) is None

    def test_this_machine_answers(self) -> None:
        quota = cpu_quota()
        assert quota is None or quota > 0


class TestCores:
    @pytest.mark.parametrize(("quota", "count"), [(None, 8), (0.2, 1), (1.0, 1), (2.5, 3), (7.9, 8), (64.0, 8)])
    def test_affinity_and_quota(self, monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
        monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
        assert machine.cores() == count
        assert machine.allowed_cores() == 8
        assert defaults.default_lanes(0) == min(defaults.MOST_LANES, count)
        assert settings.most_workers() == max(1, count)
        assert settings.default_workers() == max(1, min(4, count - 1))

    def test_runtimes_take_that_many_threads(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        openvino, onnxruntime = pytest.importorskip("openvino"), pytest.importorskip("onnxruntime")
        from lits_deploy.backends import open_runtime
        from tiny_bundle import make_tiny_bundle

        threads: list[int] = []

        class Core(openvino.Core):  # type: ignore[misc, name-defined]
            def compile_model(self, network: Any, device: str, options: dict[str, Any]) -> Any:
                threads.append(options["INFERENCE_NUM_THREADS"])
                return super().compile_model(network, device, options)

        def session(model: Any, options: Any, **more: Any) -> Any:
            threads.append(options.intra_op_num_threads)
            return real(model, options, **more)

        real = onnxruntime.InferenceSession
        monkeypatch.setattr(openvino, "Core", Core)
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
        monkeypatch.setattr(cgroup, "cpu_quota", lambda: 3.0)
        bundle = make_tiny_bundle(tmp_path / "bundle")
        for runtime in ("openvino", "onnxruntime"):
            open_runtime(bundle, runtime=runtime, device="cpu").close()
        assert threads == [3, 3]

    def test_pytorch_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch = pytest.importorskip("torch")
        from train.device import limit_threads

        before = torch.get_num_threads()
        try:
            torch.set_num_threads(4)
            monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
            monkeypatch.setattr(cgroup, "cpu_quota", lambda: 1.5)
            limit_threads()
            assert torch.get_num_threads() == 2
            monkeypatch.setattr(cgroup, "cpu_quota", lambda: None)
            limit_threads()
            assert torch.get_num_threads() == 2, "what was set lower stays"
        finally:
            torch.set_num_threads(before)


class TestMemory:
    def test_the_limit_that_leaves_least(self, tmp_path: Path) -> None:
        mount, own = tmp_path / "cgroup", member_of(tmp_path, "0::/service")
        for group, limit in ((mount, 8), (mount / "service", 4)):
            group.mkdir(exist_ok=True)
            (group / "memory.max").write_text(f"{limit * GIB}\n")
            (group / "memory.current").write_text(f"{3 * GIB}\n")
            (group / "memory.stat").write_text(f"anon 1\ninactive_file {GIB}\n")
        assert memory_limit(mount, own) == (4 * GIB, 2 * GIB)
        (mount / "memory.current").write_text(f"{8 * GIB}\n")
        assert memory_limit(mount, own) == (8 * GIB, 7 * GIB)
        for group in (mount, mount / "service"):
            (group / "memory.max").write_text("max\n")
        assert memory_limit(mount, own) is None

    def test_v1_at_any_depth(self, tmp_path: Path) -> None:
        mount, own = tmp_path / "cgroup", member_of(tmp_path, "3:memory:/pods/one")
        memory_v1(mount / "memory", 2**63 - 4096, GIB, 0)
        assert memory_limit(mount, own) is None
        memory_v1(mount / "memory" / "pods" / "one", 2 * GIB, GIB, GIB // 2)
        assert memory_limit(mount, own) == (2 * GIB, GIB // 2)


def test_nothing_else_counts_cores() -> None:
    """A count by affinity or machine alone would not follow the quota."""
    root = Path(__file__).parent.parent
    may = {
        "lits_deploy/machine.py",
        *("lits_deploy/doctor/host.py", "benchmarks/machine.py"),  # print it
        "lits_deploy/sharding/targets.py",  # which cores, not how many
    }
    calls = ("sched_getaffinity", "cpu_count", "process_cpu_count", "ThreadPoolExecutor()", "ProcessPoolExecutor()")
    found = {
        path.relative_to(root).as_posix()
        for package in ("lits_deploy", "train", "export", "benchmarks")
        for path in (root / package).rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in calls)
    }
    assert found <= may
