"""What manifest.json may be, before anything in it is used: its size, depth, counts and the type of every field.

A manifest comes from a stranger like the rest of a bundle. Everything later relies on what is checked here: a name is
a plain file name, a number is finite, a list is a list. Free records (metrics, training …) may hold any JSON; who reads
them asks first. Knows nothing about files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from lits_deploy.errors import BundleError
from lits_deploy.manifest_history import UPDATE
from lits_deploy.operating_point import ARGMAX
from lits_deploy.release import __version__

MOST_DEPTH = 24
"""Records in records: those that `export` writes go six deep."""

MOST_FILES = 256
"""Files of a bundle: it has five, and two more an artifact at most."""

MOST_SIDE, MOST_CHANNELS = 4096, 63
"""Of a slice: memory is set aside by them before the network is opened."""


def parse_manifest(data: bytes) -> dict[str, Any]:
    """manifest.json as a record whose fields have the types of `Manifest`. Raises BundleError naming the field."""
    try:
        values = json.loads(
            data.decode("utf-8"),
            parse_constant=_not_finite,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_unique,
        )
        _check_nesting(values)
    except RecursionError:
        raise _refused("records lie in each other too deep") from None
    except ValueError as error:  # what is no JSON, no UTF-8, or a number that no float holds
        raise BundleError(f"manifest.json is not JSON ({error}).", fix="copy the bundle again") from error
    if not isinstance(values, dict):
        raise _refused("it is not a record")
    if "schema" in values and not _whole(values["schema"]):
        raise _refused("`schema` is not a whole number")
    return values


def check_fields(values: Mapping[str, Any]) -> None:
    """BundleError where a field of a manifest is missing, of another type than `Manifest` says, or not known to it."""
    _check("", values, _MANIFEST)
    _check("contract.", values["contract"], _CONTRACT)
    for index, artifact in enumerate(values["artifacts"]):
        if not isinstance(artifact, dict):
            raise _refused(f"artifacts[{index}] is not a record")
        _check(f"artifacts[{index}].", artifact, _ARTIFACT)
        for key in ("passed", "failures"):
            if not _GATE[key](artifact.get("gate", {}).get(key, True if key == "passed" else [])):
                raise _refused(f"artifacts[{index}].gate.{key} is of another type")
        _check_points(f"artifacts[{index}].", artifact)
        if fusion := artifact.get("fusion"):
            _check(f"artifacts[{index}].fusion.", fusion, _FUSION)
    names = [artifact["name"] for artifact in values["artifacts"]]
    if len(set(names)) < len(names):
        raise _refused("a name of its artifacts comes twice")
    files = [file for file, _ in {(artifact["file"], artifact["sha256"]) for artifact in values["artifacts"]}]
    files += [*values["files"], "manifest.json", "manifest.sha256"]
    if len({file.casefold() for file in files}) < len(files):  # artifacts may share a file, under one hash
        raise _refused("a file of its artifacts comes twice")


def is_plain_name(name: object) -> bool:
    """True for a visible name that every file system holds and no program takes for an option."""
    if not isinstance(name, str):
        return False
    length = len(name.encode(errors="replace"))
    hidden_or_option = name.startswith((".", "-", "~")) or name != name.strip()  # a shell's user would be surprised
    return 0 < length <= 255 and name.isprintable() and not hidden_or_option and not set(name) & set("/\\:")


def is_count(value: object) -> bool:
    """True for a whole number from 0 that a float holds exactly."""
    return _whole(value) and value >= 0  # type: ignore[operator]


def is_number(value: object) -> bool:
    """True for a finite number; whole ones as far as a float holds them exactly."""
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 4096


def _name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53


def _up_to(most: int) -> Callable[[object], bool]:
    return lambda value: _whole(value) and 0 < value <= most  # type: ignore[operator]


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _record(value: object) -> bool:
    return isinstance(value, dict)


def _list_of(check: Callable[[object], bool], least: int = 0, most: int = 64) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(check, value))


def _hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _share(value: object) -> bool:
    return is_number(value) and 0 <= value <= 1  # type: ignore[operator]


def _files(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MOST_FILES
        and all(map(is_plain_name, value))
        and all(map(_hash, value.values()))
    )


_Fields = dict[str, tuple[Callable[[object], bool], bool]]  # name → (check, must be there)

_MANIFEST: _Fields = {
    "schema": (_whole, True),
    "task": (lambda value: value in ("classify", "segment"), True),
    "model": (_record, True),
    "contract": (_record, True),
    "contract_sha256": (_text, True),
    "artifacts": (_list_of(lambda _: True, 1), True),
    "files": (_files, True),
    "metrics": (_record, False),
    "training": (_record, False),
    "export": (_record, False),
    "calibration_set": (_record, False),
    "left_out": (_record, False),
    "segmenter": (_record, False),
}

_CONTRACT: _Fields = {
    "window_hu": (_or_none(_list_of(is_number, 2, 2)), True),
    "channels": (_up_to(MOST_CHANNELS), False),
    "size": (_up_to(MOST_SIDE), False),
    "crop": (_or_none(_up_to(MOST_SIDE)), False),
    "resize": (lambda value: value in ("box", "bilinear", "never"), False),
    "orientation": (_text, False),
    "classes": (_list_of(_name, 1), False),
    "scale": (is_number, False),
    "mean": (is_number, False),
    "std": (is_number, False),
}

_ARTIFACT: _Fields = {
    "name": (_name, True),
    "file": (is_plain_name, True),
    "sha256": (_hash, True),
    "bytes": (is_count, True),
    "precision": (_name, True),
    "opset": (is_count, True),
    "outputs": (_list_of(_name, 1), True),
    "tolerance": (is_number, True),
    "parity": (_record, False),
    "temperature": (is_number, False),
    "abstain_below": (_or_none(is_number), False),
    "calibration": (_record, False),
    "operating_point": (_name, False),
    "operating_points": (_list_of(_record), False),
    "promise": (_record, False),
    "runtimes": (_list_of(_name), False),
    "devices": (_list_of(_name), False),
    "gate": (_record, False),
    "quantisation": (_record, False),
    "fusion": (_record, False),
}

_FUSION: _Fields = {
    "segmenter": (_name, True),
    "no_liver_below": (lambda value: is_number(value) and value > 0, True),  # type: ignore[operator]
    "intercept": (is_number, True),
    "classifier": (is_number, True),
    "tumour": (is_number, True),
}

_POINT: _Fields = {
    "rule": (_name, True),
    "threshold": (_or_none(is_number), True),
    "sensitivity": (_record, True),
    "specificity": (_record, True),
    "patients": (_record, True),
}

_SHARE: _Fields = {"value": (_share, True), "low": (_or_none(_share), True), "high": (_or_none(_share), True)}

_PATIENTS: _Fields = dict.fromkeys(("with_lesion", "found", "without", "marked"), (is_count, True))

_GATE: dict[str, Callable[[object], bool]] = {
    "passed": lambda value: isinstance(value, bool),
    "failures": _list_of(_text, 0, 4096),
}


def _check_points(where: str, artifact: Mapping[str, Any]) -> None:
    """BundleError where an operating point is none, comes twice, or is in force without being there."""
    points = artifact.get("operating_points", [])
    for index, point in enumerate(points):
        here = f"{where}operating_points[{index}]."
        _check(here, point, _POINT)
        for name, fields in (("sensitivity", _SHARE), ("specificity", _SHARE), ("patients", _PATIENTS)):
            _check(f"{here}{name}.", point[name], fields)
        threshold = point["threshold"]
        if (threshold is None) != (point["rule"] == ARGMAX) or (threshold is not None and threshold <= 0):
            raise _refused(f"{here}threshold is not what it must be")
    rules = [point["rule"] for point in points]
    if len(set(rules)) < len(rules):
        raise _refused(f"a rule in {where}operating_points comes twice")
    if artifact.get("operating_point", ARGMAX) not in (ARGMAX, *rules):
        raise _refused(f"{where}operating_point has no threshold")


def _check(where: str, values: Mapping[str, Any], fields: _Fields) -> None:
    for name, (check, needed) in fields.items():
        if name not in values:
            if needed:
                raise _refused(f"{where}{name} is missing")
        elif not check(values[name]):
            raise _refused(f"{where}{name} is not what it must be")
    if unknown := sorted(set(values) - set(fields)):  # it might change answers, so it is not passed over
        raise BundleError(
            f"The manifest has a field that lits-deploy {__version__} does not know ({where}{unknown[0][:60]}): "
            "a newer lits-deploy made it.",
            fix=UPDATE,
        )


def _check_nesting(values: object) -> None:
    """ValueError for half a character (it could not be written again), RecursionError for a nest too deep."""
    waiting = [(values, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise RecursionError
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _integer(text: str) -> int:
    _finite(text)  # whoever prints or compares it as a float relies on that
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a field comes twice")
    return values


def _refused(why: str) -> BundleError:
    return BundleError(f"The manifest is not one of ours ({why}).", fix="export again")
