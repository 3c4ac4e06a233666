"""`verify --json` says what the lines say."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from lits_deploy.cli.app import app
from tiny_bundle import make_tiny_bundle

runner = CliRunner()


def test_a_sound_bundle_and_one_with_a_flipped_byte(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    result = runner.invoke(app, ["verify", str(bundle.folder), "--json"], catch_exceptions=False)
    said = json.loads(result.output)
    assert (result.exit_code, said["holds"], said["bundle"]) == (0, True, bundle.sha256)
    assert said["checks"]
    assert all(check["passed"] and check["verdict"]["flipped"] == 0 for check in said["checks"])
    assert said["problems"] == []
    model = bundle.folder / bundle.manifest.artifacts[0].file
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    result = runner.invoke(app, ["verify", str(bundle.folder), "--json"], catch_exceptions=False)
    said = json.loads(result.output)
    assert (result.exit_code, said["holds"], said["checks"]) == (3, False, [])
    assert any(model.name in problem for problem in said["problems"])
