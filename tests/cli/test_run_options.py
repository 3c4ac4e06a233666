"""The options that `classify`, `segment` and `watch` share reach the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lits_deploy.cli import run_options
from lits_deploy.cli.app import app
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.scans import Reading

OPTIONS: dict[str, tuple[str, Any]] = {
    "runtime": ("--runtime openvino", "openvino"),
    "device": ("--device cuda:1", "cuda:1"),
    "artifact": ("--artifact int8-cpu", "int8-cpu"),
    "precision": ("--precision fp16", "fp16"),
    "batch_size": ("--batch-size 3", 3),
    "workers": ("--workers 2", 2),
    "threads": ("--threads 5", 5),
    "tune": ("--tune", True),
    "recursive": ("--no-recursive", False),
    "formats": ("--format csv,jsonl", ("csv", "jsonl")),
    "overwrite": ("--overwrite", True),
    "retry_failed": ("--retry-failed", True),
    "abstain": ("--no-abstain", False),
    "operating_point": ("--operating-point balanced", "balanced"),
    "identify": ("--identify", True),
    "pseudonymous": ("--pseudonymous", True),
    "salt": ("--salt s", "s"),
    "salt_file": ("--salt-file f", Path("f")),
    "group_readable": ("--group-readable", True),
    "follow_links": ("--follow-links", True),
    "allow_removed": ("--allow-removed", True),
    "ignore": ("--ignore a --ignore b", ("a", "b")),
    "ignore_none": ("--ignore-none", True),
    "time_limit_s": ("--time-limit 7", 7.0),
    "memory_limit_mib": ("--memory-limit 64", 64),
    "reading": ("--any-body-part --trust qform", Reading(any_body_part=True, trust="qform")),
    "ledger": ("--ledger l", Path("l")),
    "engine_cache": ("--engine-cache c", Path("c")),
}
ARGUMENTS = {"classify": ["BUNDLE", "SCANS"], "segment": ["BUNDLE", "SCANS"], "watch": ["BUNDLE", "INBOX"]}
LACKS = {
    "segment": {"tune", "abstain", "operating_point"},
    "watch": {"tune", "recursive", "retry_failed", "allow_removed"},
}


class Caught(Exception):  # noqa: N818
    """The options of a run that does not take place."""


@pytest.mark.parametrize("command", [*ARGUMENTS])
def test_each_option_reaches_the_run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_command = run_options.of_command

    def caught(given: Mapping[str, Any]) -> ClassifyOptions:
        raise Caught(of_command(given))

    monkeypatch.setattr(run_options, "of_command", caught)
    assert set(OPTIONS) == {field.name for field in fields(ClassifyOptions)}
    for name, (arguments, value) in OPTIONS.items():
        result = CliRunner().invoke(app, [command, *ARGUMENTS[command], *arguments.split()])
        if name in LACKS.get(command, ()):
            assert "No such option" in result.output
        else:
            assert isinstance(result.exception, Caught), result.output
            assert result.exception.args == (replace(ClassifyOptions(), **{name: value}),)
