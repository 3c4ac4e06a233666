"""plan, classify --job --shard, merge: as an array of jobs calls them, each its own process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from folder_runs import SIZE, workers_of
from sharded import assert_same, mixed_scans
from tiny_bundle import make_tiny_bundle

KILLS = 4
CONTRACT = {"size": SIZE, "crop": 56, "window_hu": (-160.0, 240.0), "cam": True}


class Commands:
    """A bundle, scans, a plan and a salt, and the commands that work on them."""

    def __init__(self, folder: Path, *, channels: int = 1) -> None:
        self.folder, self.job, self.out = folder, folder / "job", folder / "out"
        self.bundle = make_tiny_bundle(folder / "bundle", channels=channels, **CONTRACT).folder
        self.scans = mixed_scans(folder / "scans")
        self.environment = {**os.environ, "LITS_DEPLOY_SALT_FILE": str(folder / "salt"), "TMPDIR": str(folder)}

    def start(self, *arguments: object, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "lits_deploy", *map(str, arguments)]
        environment = {**self.environment, **variables}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: object, **variables: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **variables)
        said, errors = process.communicate()
        assert "Traceback" not in errors
        return process.returncode, said, errors

    def plan(self, most: int) -> tuple[int, str, str]:
        return self.run("plan", self.bundle, self.scans, "--out", self.job, "--shard-slices", most)

    def shard(self, number: object, **variables: str) -> tuple[int, str, str]:
        return self.run("classify", self.bundle, "--job", self.job, "--shard", number, **variables)

    def merge(self, *more: object) -> tuple[int, str, str]:
        return self.run("merge", self.job, "--out", self.out, "--format", "csv,jsonl", *more)

    def one_machine(self) -> Path:
        out = self.folder / "one"
        salt = ("--salt-file", self.folder / "salt")
        code, *_ = self.run("classify", self.bundle, self.scans, "--out", out, "--format", "csv,jsonl", *salt)
        assert code == 1  # some files fail
        return out


def test_the_three_commands_of_an_array(tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    code, said, _ = commands.plan(40)
    assert (code, "in 2 shards" in said) == (0, True)
    assert commands.shard("auto", SLURM_ARRAY_TASK_ID="0")[0] == 0  # failed files are rows
    code, said, errors = commands.merge()
    assert (code, "1 of 2 shards" in said, "Missing shards: 1 (1)" in errors) == (130, True, True)
    code, said, _ = commands.shard("auto", JOB_COMPLETION_INDEX="1")
    assert (code, said.startswith("shard 1 is done: ")) == (0, True)
    assert commands.shard(1)[:2] == (0, "shard 1 was done before: nothing to do\n")
    code, said, _ = commands.merge()
    assert (code, "2 of 2 shards, 1 of them merged now" in said) == (1, True)
    assert_same(commands.one_machine(), commands.out)


def test_what_does_not_go_together_is_one_line(tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    commands.plan(1000)
    classify = ("classify", commands.bundle)
    for arguments, says in (
        ((*classify, commands.scans, "--job", commands.job, "--shard", 0), "SCANS and --job name the same thing."),
        ((*classify, "--job", commands.job), "--job needs the number of a shard."),
        (
            (*classify, "--job", commands.job, "--shard", 0, "--no-report", "--segmenter", tmp_path / "unet"),
            "--segmenter draws into the report.",
        ),
        ((*classify, "--shard", 0), "--shard needs a plan."),
        (classify, "No scans were named."),
        ((*classify, "--job", commands.job, "--shard", 0, "--out", tmp_path / "out"), "A shard goes into JOB"),
        (
            (*classify, "--job", commands.job, "--shard", 0, "--no-abstain"),
            "The job was planned with another `abstain` (True there, False here).",
        ),
        ((*classify, "--job", commands.job, "--shard", 5), "The plan has no shard 5"),
        ((*classify, "--job", commands.job, "--shard", "auto"), "No array says which shard it is."),
        (("segment", commands.bundle, "--job", commands.job, "--shard", 0), "`segment` needs a U-Net."),
        ((*classify, "--job", tmp_path / "none", "--shard", 0), "There is no plan in"),
        (("merge", commands.job), "is done yet."),
    ):
        code, said, errors = commands.run(*arguments)
        assert (code, said, errors.count("\n")) == (2, "", 1), errors
        assert says in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_shards_and_merges_that_are_killed_end_in_the_same_bytes(tmp_path: Path, channels: int) -> None:
    commands = Commands(tmp_path, channels=channels)
    commands.plan(8)
    shards = len(list(range(100))[: int(commands.plan(8)[1].partition(" slices in ")[2].split()[0])])
    work = [
        ("classify", commands.bundle, "--job", commands.job, "--shard", n, "--batch-size", 2) for n in range(shards)
    ]
    work.append(("merge", commands.job, "--out", commands.out, "--format", "csv,jsonl"))
    dice, workers = random.Random(), list[psutil.Process]()
    for arguments in work:
        begun = time.monotonic()
        for _ in range(KILLS):
            process = commands.start(*arguments)
            try:
                process.communicate(timeout=dice.uniform(0.2, 1.5))
                break
            except subprocess.TimeoutExpired:
                workers += workers_of(process.pid)
                process.kill()
                process.communicate()
        code, _, errors = commands.run(*arguments)
        assert code in (0, 1), errors
        assert time.monotonic() - begun < 120
    assert_same(commands.one_machine(), commands.out)
    assert not psutil.wait_procs(workers, timeout=5)[1]
