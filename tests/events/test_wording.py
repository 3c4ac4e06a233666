"""What a log says of errors: our own words, and no value of any kind."""

from __future__ import annotations

import ast
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_deploy import endings, nvidia
from lits_deploy.bundle import Bundle
from lits_deploy.cli.console import note
from lits_deploy.errors import MissingExtra, OutputError, StorageError, UserError
from lits_deploy.events.log_file import LogFile
from lits_deploy.events.session import CommandSession, ReportingOptions
from lits_deploy.events.wording import Quoting, raised_at, wording
from lits_deploy.pseudonyms import salt_of
from lits_deploy.resource_errors import as_user_error
from lits_deploy.runtime import onnxruntime_
from lits_deploy.runtime.device import Device
from lits_deploy.scans.archive import Archive
from lits_deploy.scans.roots import list_scans
from lits_deploy.storage import path_or_url

ROOT = Path(__file__).parents[2]
PACKAGES = ("lits_deploy", "train", "export", "benchmarks")
PATIENT = "MILLER"
NAMES = st.builds("{}{}{}".format, st.text(max_size=12), st.just(PATIENT), st.text(max_size=12)).filter(
    lambda name: "\0" not in name
)
"""With blanks, quotation marks, line feeds, slashes, percent signs, and marks that nobody sees."""


def nowhere(name: str) -> Path:
    """Where nothing is, and nothing can be made."""
    return Path(f"{__file__}/{name}")


def refused(path: str, what: str) -> OutputError:
    return OutputError(f"{path} {what}.", fix=f"mv {path} elsewhere")


def of_a_helper(name: str) -> None:
    raise refused(name, "cannot be listed")


def of_the_system(name: str) -> None:
    try:
        nowhere(name).read_bytes()
    except OSError as error:
        raise OutputError(str(error), fix=f"chmod +r {name!r}") from error


def fix_again(name: str) -> None:
    try:
        of_a_helper(name)
    except UserError as error:
        raise OutputError(error.message.lower()) from error


def within_words(name: str) -> None:
    raise UserError(f"{len(name)} bytes of {name!r:>40} ({', '.join([name])})", fix="another " + name)


def as_a_note(name: str) -> None:
    note(Quoting(f"{name} is skipped", logged="1 file is skipped"))


def by_logging(name: str) -> None:
    logging.getLogger("lits_deploy.scans").warning("note: %s is skipped", name)


def of_a_key(name: str) -> None:
    {}[name]


DOORS: list[Callable[[str], object]] = [
    of_a_helper,
    of_the_system,
    fix_again,
    within_words,
    as_a_note,
    by_logging,
    of_a_key,
    lambda name: list_scans([nowhere(name)]),
    lambda name: list_scans([Path(name)]),
    lambda name: list_scans([f"s3://bucket/{name}", f"s3://other/{name}"]),
    lambda name: path_or_url(f"s3:/{name}"),
    lambda name: path_or_url(f"s3://user:key@{name}"),
    lambda name: path_or_url(f"file://host/{name}"),
    lambda name: Bundle.open(nowhere(name)),
    lambda name: Archive(f"{nowhere(name)}.zip"),
    lambda name: LogFile(nowhere(name)),
    lambda name: salt_of(nowhere(name), None),
    lambda name: salt_of(nowhere("x"), None, nowhere(name)),
]


def lines_of(door: Callable[[str], object], name: str, **asked: Any) -> list[str]:
    """What a command says on standard error that goes through the door with this name."""
    lines = list[str]()
    with CommandSession("classify", ReportingOptions(**asked), show=lines.append):
        try:
            door(name)
        except Exception as error:  # as `program` does
            known = as_user_error(error)
            endings.failed("bug" if known is None else "error", f"error: {known}", error)
    return lines


@settings(max_examples=120, deadline=None)
@given(door=st.sampled_from(DOORS), name=NAMES, kind=st.sampled_from(["text", "json"]))
def test_no_line_of_a_log_has_any_of_what_was_named(door: Callable[[str], object], name: str, kind: str) -> None:
    lines = lines_of(door, name, log_format=kind, verbose=True)
    assert len(lines) in (2, 3), "start, what happened if anything, end"
    assert PATIENT not in "".join(lines).upper()


def test_a_person_is_shown_the_name_and_a_log_the_text_of_the_source() -> None:
    error = None
    try:
        within_words(PATIENT)
    except UserError as raised:
        error = raised
    assert PATIENT in str(error)
    assert wording(error, "") == "{…} bytes of {name} ({…}) Fix: another {name}"
    event = json.loads(lines_of(of_the_system, PATIENT, log_format="json")[1])
    assert (event["kind"], event["raised_at"][0].partition(":")[0]) == ("OutputError", "test_wording.py")
    assert event["message"] == "Fix: chmod +r {name}", "the system's words are nowhere in the source"
    assert lines_of(as_a_note, PATIENT) == [f"{PATIENT} is skipped"]
    assert json.loads(lines_of(as_a_note, PATIENT, log_format="json")[1])["message"] == "1 file is skipped"


def caught(raise_it: Callable[[], object]) -> BaseException:
    try:
        raise_it()
    except BaseException as error:
        return error
    raise AssertionError


def test_text_comes_from_the_statement_that_raised_or_of_its_cause() -> None:
    assert wording(caught(lambda: of_a_helper("x")), "") == "Fix: mv {path} elsewhere"
    assert wording(caught(lambda: fix_again("x")), "") == "Fix: mv {path} elsewhere"
    missing = caught(lambda: list_scans([nowhere("x")]))
    assert wording(missing, "") == "There is no {what}. Fix: check the path of the scans"
    assert raised_at(missing)[0].startswith("discover.py:")
    assert wording(OutputError("never raised"), "") == "never raised"
    full = OSError(28, "No space left on device", "/in/x")
    assert wording(full, str(as_user_error(full))).startswith("The disk is full. Fix: ")


def test_text_that_a_variable_or_a_caller_of_ours_brings_is_logged(tmp_path: Path) -> None:
    open_it = lambda path: wording(caught(lambda: Bundle.open(path)), "")  # noqa: E731
    assert open_it(tmp_path / PATIENT) == "There is no {folder}. Fix: check the path of the bundle"
    (tmp_path / f"{PATIENT}.zip").write_bytes(b"PK")
    text = "There is no {folder}. Fix: is it {…}?"
    assert open_it(tmp_path / f"{PATIENT}.zap") == text
    broken = "{path} is not a whole zip file ({error}). Fix: get the file again from whoever packed it"
    assert open_it(tmp_path / f"{PATIENT}.zip") == broken
    (run := tmp_path / PATIENT).mkdir()
    nothing = (
        "not a bundle (it has no manifest.json). Fix: name a folder that `lits-deploy export` made, or its zip file"
    )
    assert open_it(run) == f"{{folder}} is {nothing}"
    (run / "config.json").touch()
    assert open_it(run) == "{folder} is a training run, not a bundle. Fix: lits-deploy export {folder}"


@pytest.mark.parametrize(
    ("trouble", "fix"),
    [
        (nvidia.NO_GPU, "--device cpu"),
        (
            nvidia.Trouble(PATIENT, f"install {PATIENT} or newer, or wheels for CUDA 12 (docs/tensorrt.md names them)"),
            "install {needed} or newer, or wheels for CUDA {…} (docs/tensorrt.md names them)",
        ),
        (nvidia.Trouble("x", f"ask {PATIENT}"), None),
    ],
)
def test_a_fix_that_another_module_of_ours_has_written_is_logged(
    trouble: nvidia.Trouble, fix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_, "_foreseen", lambda _: trouble)
    error = caught(lambda: onnxruntime_._cuda_session(None, onnxruntime_._ONE_NODE, None, Device("cuda"), tf32=False))
    text = "ONNX Runtime cannot use {device}: {found.found}." + (f" Fix: {fix}" if fix else "")
    assert (str(error).partition("Fix: ")[2], wording(error, "")) == (trouble.fix, text)


def test_what_is_missing_names_its_extra() -> None:
    def missing() -> None:
        raise MissingExtra(PATIENT, "cpu")

    assert wording(caught(missing), "") == "{what} is not installed. Fix: pip install 'lits-deploy[{extra}]'"
    error = caught(lambda: list_scans([nowhere("x")]))
    assert wording(pickle.loads(pickle.dumps(error)), "") == wording(error, ""), "of a process that does the work"


def test_of_a_store_its_failure_is_logged() -> None:
    def fails() -> None:
        raise StorageError(f"s3://{PATIENT}/x: {1}", fix="wait", why="the store is busy")

    assert wording(caught(fails), "") == "The store: the store is busy."


def test_a_source_that_is_gone_or_of_another_version_gives_no_text(tmp_path: Path) -> None:
    code = "from lits_deploy.errors import UserError\ndef door(x):\n    raise UserError(f'no {x}')\n"
    for name, there in (("a.py", code), ("b.py", "def ("), ("c.py", "\n\nprint('no')\n"), ("d.py", None)):
        namespace = dict[str, Any]()
        exec(compile(code, str(tmp_path / name), "exec"), namespace)
        if there is not None:
            (tmp_path / name).write_text(there)
        # Written out: what a program of others passes in is a value, although it stands in its source.
        text = wording(caught(lambda door=namespace["door"]: door("MILLER")), "")  # type: ignore[misc]
        assert text == ("no {x}" if there == code else "")


OWN_TEXTS = {
    "lits_deploy/cli/console.py": {"text", "text.logged if isinstanc"},  # what they were given
    "lits_deploy/events/session.py": {"message", "type(error).__name__"},
    "lits_deploy/events/metrics.py": {"line"},  # the system's word for an errno
    "lits_deploy/cli/watch_messages.py": {"f'An entry broke its run"},  # places in the code
    "lits_deploy/cli/merge.py": {"warning", "f'Missing shards: {len(s"},  # their numbers
    "train/cli/data/prepare.py": {"warning"},
    # Warnings of runs and plans: counts, devices, and what a bundle says of itself.
    **{f"lits_deploy/cli/{name}.py": {"warning"} for name in ("classify", "jobs", "plan", "segment", "spread")},
}
"""What goes into a log and is no text with numbers, by where it stands."""


AT = {"note": 0, "warn": 0, "complain": 0, "emit": 1}
"""What tells a log, and which of its arguments does."""


def texts_for_logs() -> Iterator[tuple[str, ast.expr]]:
    paths = (
        path for package in ("lits_deploy", "train", "export", "benchmarks") for path in (ROOT / package).rglob("*.py")
    )
    for path in paths:
        source = path.read_text(encoding="utf-8")
        if "cli.console" not in source and "events.emit" not in source:
            continue
        tree = ast.parse(source)
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
        at = {name: n for name, n in AT.items() if name in imported or path.name == "console.py"}
        for node in ast.walk(tree):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and at.get(name, len(node.args)) < len(node.args):
                yield str(path.relative_to(ROOT)), node.args[at[name]]


def is_plain(text: ast.expr) -> bool:
    """Our own words, with numbers, or said in two ways."""
    if isinstance(text, ast.JoinedStr):
        return all(isinstance(part, ast.Constant) or getattr(part, "format_spec", None) for part in text.values)
    return (
        isinstance(text, ast.Constant)
        or (isinstance(text, ast.Name) and text.id in ("DISCLAIMER", "NOT_HERE"))
        or (isinstance(text, ast.Call) and getattr(text.func, "id", "") == "Quoting")
    )


def test_what_a_log_says_is_our_own_text_and_numbers() -> None:
    others = {(path, ast.unparse(text)[:24]) for path, text in texts_for_logs() if not is_plain(text)}
    assert others == {(path, text) for path, texts in OWN_TEXTS.items() for text in texts}
