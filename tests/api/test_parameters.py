"""Errors that a program gets speak of parameters, where those of a command name options."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

import lits_deploy as ld
from command_tree import all_commands
from lits_deploy.api.parameters import with_parameters
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

RUNS = {"classify": ld.classify_folder, "segment": ld.segment_folder}


@pytest.mark.parametrize("command", RUNS)
def test_every_option_that_a_call_has_is_told_as_its_parameter(command: str) -> None:
    ours = {one.name for kind in (ld.ClassifyOptions, ld.Reading) for one in fields(kind)}
    ours |= {*inspect.signature(RUNS[command]).parameters}
    for one in (one for one in all_commands()[command].params if one.param_type_name == "option"):
        for option, given in [*((name, True) for name in one.opts), *((name, False) for name in one.secondary_opts)]:
            parameter = f"{one.name}={given}" if one.is_flag and one.name != "group_readable" else one.name
            expected = f"another `{parameter}`" if one.name in ours and option.startswith("--") else f"another {option}"
            assert with_parameters(f"another {option}") == expected.replace("--endpoint", "`AWS_ENDPOINT_URL_S3`")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "--out elsewhere, or --overwrite: all is done again",
            "`out` elsewhere, or `overwrite=True`: all is done again",
        ),
        ("--salt-file FILE, or --device cpu", "`salt_file=FILE`, or `device='cpu'`"),
        ("--identify, or --masks png,nifti", "`identify=True`, or `masks=['png', 'nifti']`"),
        ("leave --no-report out", "leave `report=False` out"),
        ("a larger --memory-limit", "a larger `memory_limit_mib`"),
        ("export again with --int8", "export again with --int8"),
        ("docker run --gpus all", "docker run --gpus all"),
    ],
)
def test_fixes_read_as_calls(text: str, expected: str) -> None:
    assert with_parameters(text) == expected


def test_errors_of_the_api_name_no_option_and_paths_may_be_texts(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56)
    scans, ledger = folder_of_slices(tmp_path / "scans", 2, size=64), tmp_path / "ledger"
    options = ld.ClassifyOptions(runtime="onnxruntime", ledger=str(ledger))  # type: ignore[arg-type]
    assert options.ledger == ledger
    with pytest.raises(ld.UserError, match=r"^`segmenter` draws into the report\. Fix: leave `report=False` out$"):
        ld.classify_folder(bundle, scans, tmp_path / "out", report=False, segmenter="unet")
    with pytest.raises(ld.OutputError, match=r"lies in the bundle.*Fix: `out` elsewhere$") as caught:
        ld.classify_folder(bundle, scans, bundle.folder / "out", options=options)
    assert caught.value.fix == "`out` elsewhere"
