"""Which libraries of lits-deploy and of its extras are installed, in which version. Imports none of them."""

from __future__ import annotations

import re
from importlib import metadata

from lits_deploy.doctor.check import OF_GPU, Check, State, install_command, version_of
from lits_deploy.nvidia import gpu_here, is_jetson

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^\]]*)\])?\s*(?P<versions>[^;]*)(;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_SELF = "lits-deploy"


def checks() -> list[Check]:
    """One row for what lits-deploy always needs, one for each extra."""
    try:
        required = metadata.requires(_SELF) or []
    except metadata.PackageNotFoundError:
        found = "lits-deploy runs from a folder and was not installed, so what it needs is not known"
        return [Check("base", "warning", found, "pip install --editable FOLDER", details={"versions": {}})]
    groups = grouped(required)
    return [look(extra, libraries) for extra, libraries in groups.items()]


def grouped(required: list[str]) -> dict[str, dict[str, str]]:
    """Requirements as a package's metadata has them → {extra ("" for none): {library: lowest version, or ""}}.

    An extra that names another of ours (`lits-deploy[train]`) gets its libraries.
    """
    groups: dict[str, dict[str, str]] = {"": {}}
    inherited: dict[str, list[str]] = {}
    for line in required:
        match = _REQUIREMENT.fullmatch(line.strip())
        if match is None:
            continue
        extra = found[1] if (found := _EXTRA.search(match["marker"] or "")) else ""
        group = groups.setdefault(extra, {})
        if match["name"].lower().replace("_", "-") == _SELF:
            inherited.setdefault(extra, []).extend(name.strip() for name in (match["extras"] or "").split(","))
            continue
        lowest = re.search(r">=\s*([\w.]+)", match["versions"])
        group[match["name"].lower()] = lowest[1] if lowest else ""
    for extra, others in inherited.items():
        for other in others:
            groups[extra] = {**groups.get(other, {}), **groups[extra]}
    return groups


def look(extra: str, libraries: dict[str, str]) -> Check:
    """The row of one extra ("" for what is always needed); libraries: name → lowest version that will do."""
    there: dict[str, str | None] = {name: version_of(name) for name in libraries}
    missing = [name for name, version in there.items() if version is None]
    old = [f"{name} {v} (needs {libraries[name]})" for name, v in there.items() if v and is_older(v, libraries[name])]
    have = ", ".join(f"{name} {version}" for name, version in there.items() if version is not None)
    parts = [have, f"missing: {', '.join(missing)}" if missing else "", f"too old: {', '.join(old)}" if old else ""]
    found = "; ".join(part for part in parts if part)
    name = f"[{extra}]" if extra else "base"
    command = install_command(extra) if extra else "pip install --upgrade lits-deploy"
    if extra == "gpu" and version_of("onnxruntime"):
        command = f"pip uninstall --yes onnxruntime && {command}"  # they own one module
    state: State = "missing" if missing else "ok"
    fix = command if missing else None
    if old or (missing and not extra):
        state, fix = "warning" if extra or not missing else "broken", command
    elif missing and extra == "cpu" and version_of("onnxruntime-gpu"):
        state, fix, found = "ok", None, f"{found}; onnxruntime-gpu is here in its place"
    elif missing and extra in ("gpu", "trt", "trt-rtx") and not gpu_here():
        state, fix, found = "not needed", None, OF_GPU
    elif missing and extra == "jetson" and not is_jetson():
        state, fix, found = "not needed", None, "of use on a Jetson"
    return Check(name, state, found, fix, details={"versions": there})


def is_older(version: str, lowest: str) -> bool:
    """True where a version is below another, by the numbers it begins with: 1.9.1+cu130 is 1.9.1. "" is no bound."""
    have, want = ([int(n) for n in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])] for text in (version, lowest))
    width = max(len(have), len(want))
    return bool(have and want) and have + [0] * (width - len(have)) < want + [0] * (width - len(want))
