"""What decides how a network's sums are rounded, besides runtime and artifact, and the note that keeps it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fake_libcuda
from fake_libcuda import FakeLibcuda
from lits_deploy import machine
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.sharding import shard_record
from lits_deploy.sharding.shard_record import ShardRecord, hardware_of

INFO = RuntimeInfo(name="tensorrt", version="10", device="cuda:0", precision="fp16", providers=("x",), engine="e" * 64)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    fake_libcuda.forget()


def test_a_gpu_is_told_by_its_model_and_an_engines_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(name="NVIDIA L4"), driver="580.95.05")
    assert hardware_of(INFO) == {"gpu": "NVIDIA L4", "engine": "e" * 64}


@pytest.mark.parametrize(
    ("key", "flags", "shown"),
    [
        ("flags", "fpu sse4_2 avx2 fma avx512_vnni hypervisor", "avx2 avx512_vnni fma sse4_2"),
        ("Features", "fp asimd evtstrm asimddp", "asimd asimddp"),
        ("model name", "none", ""),
    ],
)
def test_a_processor_is_told_by_what_runtimes_choose_by(
    monkeypatch: pytest.MonkeyPatch, key: str, flags: str, shown: str
) -> None:
    monkeypatch.setattr(machine, "proc_value", lambda _, asked: flags if asked == key else None)
    monkeypatch.setattr("platform.machine", lambda: "box")
    assert machine.processor_class() == f"box {shown}".strip()
    assert hardware_of(RuntimeInfo(**{**vars(INFO), "device": "cpu"})) == {"processor": machine.processor_class()}


def test_a_record_is_read_as_it_was_written_and_another_versions_is_reported() -> None:
    record = ShardRecord(
        job="j", number=3, digest="d", info=INFO, hardware={"gpu": "x", "engine": None}, finished=shard_record.now()
    )
    assert ShardRecord.from_text(record.to_text()) == record
    with pytest.raises(ValueError, match="another version"):
        ShardRecord.from_text(record.to_text().replace('"schema":1', '"schema":2'))
