"""The cache: what may be handed to TensorRT and what may not, and the reason that is given."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.contract import Task
from lits_deploy.errors import EngineError, UserError
from lits_deploy.files import sha256_bytes
from lits_deploy.trt.cache import ENVIRONMENT, EngineCache, default_folder, side_name
from lits_deploy.trt.key import EngineKey, OptimisationProfile, parse_targets
from lits_deploy.trt.record import NOT_PROVEN, EngineRecord, Proof
from recording_cuda import FAKE_GPU

ENGINE = b"an engine, as far as this folder knows" * 10

KEY = EngineKey(
    bundle="b" * 64,
    artifact="fp16",
    artifact_sha256="a" * 64,
    precision="fp16",
    flavour="tensorrt",
    version="10.3.0.30",
    platform="linux-x86_64",
    gpu="NVIDIA RTX A2000",
    compute_capability="8.6",
    driver="580.95.05",
)
CROSS = dataclasses.replace(
    KEY, flavour="rtx", version="1.7.1.116", gpu=None, compute_capability=None, driver=None, targets=("sm86", "sm89")
)
HERE = dataclasses.replace(KEY, flavour="rtx", version="1.7.1.116")


def record_of(key: EngineKey, data: bytes = ENGINE, **changes: Any) -> EngineRecord:
    values: dict[str, Any] = {
        "key": key,
        "sha256": sha256_bytes(data),
        "bytes": len(data),
        "seconds": 1.0,
        "cuda": "13.0",
        "as_built": {"heavy": {"fp16": 21}},
        "built_at": "2026-11-24T00:00:00+0000",
        "note": NOT_PROVEN,
    }
    return EngineRecord(**{**values, **changes})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    made = EngineCache(tmp_path / "engines")
    made.store(record_of(KEY), ENGINE)
    return made


def test_an_engine_is_found_again(cache: EngineCache) -> None:
    found, why = EngineCache(cache.folder).find(KEY)
    assert found is not None
    assert (found.data, why, found.record) == (ENGINE, "", record_of(KEY))
    assert (cache.folder.stat().st_mode & 0o777) == 0o700


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"driver": "581.10"}, "driver 580.95.05 → 581.10"),
        ({"gpu": "NVIDIA L4", "compute_capability": "8.9"}, "GPU NVIDIA RTX A2000 → NVIDIA L4, compute capability"),
        ({"version": "10.4.0.26"}, "TensorRT 10.3.0.30 → 10.4.0.26"),
        ({"bundle": "c" * 64}, "the bundle changed"),
        ({"artifact_sha256": "c" * 64}, "the artifact's file changed"),
        ({"max_batch": 128}, "batches up to 64 → 128"),
        ({"platform": "linux-aarch64"}, "platform linux-x86_64 → linux-aarch64"),
        ({"artifact": "int8-trt"}, "there is none yet"),
        ({"flavour": "rtx"}, "there is none yet"),
    ],
)
def test_another_key_is_not_served_and_the_difference_is_named(
    cache: EngineCache, change: dict[str, Any], reason: str
) -> None:
    found, why = cache.find(dataclasses.replace(KEY, **change))
    assert found is None
    assert reason in why


def test_larger_batches_will_do_unless_exactly_one_profile_is_asked_for(cache: EngineCache) -> None:
    smaller = dataclasses.replace(KEY, max_batch=16, best_batch=16)
    found, _ = cache.find(smaller)
    assert found is not None
    found, why = cache.find(smaller, larger=False)
    assert found is None
    assert why == "batches 1/32/64 → 1/16/16"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda engine, _: _flip(engine), "was altered"),
        (lambda engine, _: engine.write_bytes(ENGINE[:-5]), "its record says"),
        (lambda engine, _: engine.write_bytes(ENGINE + b"more"), "its record says"),
        (lambda engine, _: engine.write_bytes(b"x" * len(ENGINE)), "was altered"),
        (lambda engine, _: engine.unlink(), "cannot be read"),
        (lambda _, paper: paper.unlink(), "there is none yet"),
        (lambda _, paper: paper.write_text("{"), "not the record"),
        (lambda _, paper: paper.write_text("[1, 2]"), "not the record"),
        (lambda _, paper: _rewrite(paper, schema=99), "not the record"),
        (lambda _, paper: _rewrite(paper, key={**KEY.to_json(), "driver": "1"}), "not the record"),
        (lambda _, paper: _rewrite(paper, key={"bundle": "b"}), "not the record"),
        (lambda _, paper: _rewrite(paper, surprise=1), "not the record"),
        (lambda _, paper: _rewrite(paper, sha256="0" * 64), "was altered"),
    ],
)
def test_a_spoiled_engine_or_record_is_not_handed_out(cache: EngineCache, spoil: Any, reason: str) -> None:
    engine = cache.engine_path(KEY)
    spoil(engine, engine.with_suffix(".json"))
    found, why = cache.find(KEY)
    assert found is None
    assert reason in why


def test_an_engine_of_another_key_under_this_name_is_not_handed_out(cache: EngineCache) -> None:
    other = dataclasses.replace(KEY, version="10.4.0.26")
    cache.store(record_of(other, b"another version's engine"), b"another version's engine")
    cache.engine_path(other).replace(cache.engine_path(KEY))
    found, why = cache.find(KEY)
    assert found is None
    assert "its record says" in why


def test_an_engine_built_elsewhere_serves_its_compute_capabilities_only(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.store(record_of(CROSS), ENGINE)
    found, _ = cache.find(HERE)
    assert found is not None
    assert found.record.note == NOT_PROVEN
    for change in ({"compute_capability": "12.0"}, {"version": "1.8.0.1"}, {"platform": "linux-aarch64"}):
        assert cache.find(dataclasses.replace(HERE, **change))[0] is None


def test_one_built_here_comes_before_one_built_elsewhere(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.store(record_of(CROSS), ENGINE)
    cache.store(record_of(HERE, b"mine"), b"mine")
    found, _ = cache.find(HERE)
    assert found is not None
    assert found.data == b"mine"


def test_a_proof_holds_on_its_gpu_and_driver_only() -> None:
    proof = Proof(
        gpu=FAKE_GPU.name,
        compute_capability="8.6",
        driver=FAKE_GPU.driver,
        slices=16,
        max_delta=1e-5,
        tolerance=1e-4,
        date="2026-11-24T00:00:00+0000",
    )
    record = dataclasses.replace(record_of(CROSS), proof=proof, note="")
    assert record.note == ""
    assert record.proven_on(FAKE_GPU)
    assert not record.proven_on(dataclasses.replace(FAKE_GPU, driver="581.10"))
    assert not record.proven_on(dataclasses.replace(FAKE_GPU, name="NVIDIA RTX A4000"))
    assert not record_of(CROSS).proven_on(FAKE_GPU)


def test_a_folder_or_engine_that_anybody_may_write_is_refused(cache: EngineCache) -> None:
    cache.engine_path(KEY).chmod(0o666)
    with pytest.raises(EngineError, match="an engine is a program"):
        cache.find(KEY)
    cache.folder.chmod(0o777)
    with pytest.raises(EngineError, match="chmod o-w"):
        EngineCache(cache.folder)


def test_a_folder_or_engine_that_its_group_may_write_is_refused(cache: EngineCache) -> None:
    cache.engine_path(KEY).chmod(0o660)
    with pytest.raises(EngineError, match=r"its group.*chmod g-w"):
        cache.find(KEY)
    cache.folder.chmod(0o770)
    with pytest.raises(EngineError, match=r"its group.*chmod g-w"):
        EngineCache(cache.folder)


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_parent_in_which_others_may_rename_is_refused_unless_it_is_sticky(tmp_path: Path, mode: int) -> None:
    cache = EngineCache(tmp_path / "open" / "mine" / "engines")
    (tmp_path / "open").chmod(mode)
    with pytest.raises(EngineError, match=f"{tmp_path}/open may be written"):
        EngineCache(cache.folder)
    (tmp_path / "link").symlink_to(cache.folder)  # what counts is where the folder really lies
    with pytest.raises(EngineError, match=f"{tmp_path}/open may be written"):
        EngineCache(tmp_path / "link")
    (tmp_path / "open").chmod(mode | 0o1000)
    assert EngineCache(tmp_path / "link").folder == cache.folder


def test_a_parent_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to give a folder away")
    cache = EngineCache(tmp_path / "theirs" / "engines")
    os.chown(tmp_path / "theirs", 12345, -1)
    with pytest.raises(EngineError, match="theirs belongs to somebody else"):
        EngineCache(cache.folder)


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = EngineCache(tmp_path / "a" / "b")
        cache.store(record_of(KEY), ENGINE)
        with cache.lock(KEY):
            modes = {path.name.partition(".")[2]: path.stat().st_mode & 0o777 for path in cache.folder.iterdir()}
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert modes["engine"] == modes["lock"] == 0o600
    assert EngineCache(cache.folder).find(KEY)[0] is not None


def test_links_in_the_folder_are_not_followed(cache: EngineCache, tmp_path: Path) -> None:
    engine = cache.engine_path(KEY)
    (tmp_path / "elsewhere").write_bytes(ENGINE)
    engine.unlink()
    engine.symlink_to(tmp_path / "elsewhere")
    found, why = cache.find(KEY)
    assert found is None
    assert "cannot be read" in why
    engine.with_suffix(".lock").symlink_to(tmp_path / "made-elsewhere")
    with pytest.raises(EngineError, match="is a link"), cache.lock(KEY):
        pass
    assert not (tmp_path / "made-elsewhere").exists()


def test_a_folder_of_somebody_else_is_refused(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cache.folder.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    if owner == 0:  # root's folders are trusted, so give it away
        os.chown(cache.folder, 12345, -1)
    with pytest.raises(EngineError, match="belongs to somebody else"):
        EngineCache(cache.folder)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="--engine-cache elsewhere"):
        EngineCache(tmp_path / "file" / "engines")


def test_side_caches_come_back_only_with_their_hash(cache: EngineCache) -> None:
    name = side_name("timing", "tensorrt", "10.3.0.30", "NVIDIA RTX A2000")
    assert name == "timing-tensorrt-10.3.0.30-NVIDIA_RTX_A2000.cache"
    assert cache.read_side(name) == b""
    cache.write_side(name, b"timings")
    assert cache.read_side(name) == b"timings"
    (cache.folder / name).write_bytes(b"swapped")
    assert cache.read_side(name) == b""
    (cache.folder / f"{name}.sha256").unlink()
    assert cache.read_side(name) == b""


def test_two_builders_of_one_key_take_turns(cache: EngineCache) -> None:
    order = []

    def second() -> None:
        with EngineCache(cache.folder).lock(KEY):
            order.append("second")

    with cache.lock(KEY):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "lits-deploy" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # the specification says to ignore it
    assert default_folder() == Path.home() / ".cache" / "lits-deploy" / "engines"
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"


def test_targets_and_profiles_are_read_strictly() -> None:
    assert parse_targets("sm86, SM89,8.6,12.0,sm_121") == ("sm86", "sm89", "sm120", "sm121")
    assert parse_targets(None) == parse_targets("") == ()
    for text in ("ampere", "sm8", "86.1.2"):
        with pytest.raises(UserError, match="sm86,sm89"):
            parse_targets(text)
    with pytest.raises(UserError, match="--opt-batch"):
        OptimisationProfile(best=32, most=16)
    assert str(OptimisationProfile.up_to(8)) == "1/8/8"
    assert str(OptimisationProfile.up_to(200)) == "1/32/200"


@pytest.mark.parametrize(
    ("task", "mib", "profile"),
    [
        ("segment", 7620, "1/1/1"),  # an Orin of 8 GB
        ("segment", 2048, "1/1/1"),
        ("segment", 24_000, "1/4/4"),
        ("segment", 143_000, "1/32/32"),  # an H200
        ("classify", 2048, "1/8/8"),
        ("classify", 7620, "1/32/32"),
        ("classify", 16_000, "1/32/64"),
        ("classify", 143_000, "1/32/64"),
    ],
)
def test_the_default_profile_goes_by_all_the_memory_and_the_task(task: Task, mib: int, profile: str) -> None:
    assert str(OptimisationProfile.for_gpu(task, mib << 20)) == profile


def test_smaller_profiles_end_at_one_slice() -> None:
    tried: list[str] = []
    profile: OptimisationProfile | None = OptimisationProfile()
    while profile is not None:
        tried.append(str(profile))
        profile = profile.smaller()
    assert tried == ["1/32/64", "1/16/16", "1/4/4", "1/1/1"]
