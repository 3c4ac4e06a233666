"""run.json held against its JSON Schema, which must also name whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

import lits_deploy

SCHEMA: dict[str, Any] = json.loads((Path(lits_deploy.__file__).parent / "run.schema.json").read_text())


def checked_record(out: Path) -> dict[str, Any]:
    """run.json of an output folder, once it fits its schema."""
    record: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(record)
    assert unnamed(record, SCHEMA) == []
    return record


def unnamed(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """Fields that a schema with names of fields does not name."""
    if "items" in schema:
        return [found for one in value for found in unnamed(one, schema["items"], where)]
    named = schema.get("properties", {})
    if not named:
        return []
    unknown = [f"{where}{name}" for name in value if name not in named]
    return unknown + [
        found for name, part in value.items() if name in named for found in unnamed(part, named[name], f"{name}.")
    ]
