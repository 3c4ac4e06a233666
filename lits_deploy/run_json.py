"""Reading run.json (`pipeline.record` writes it): every released schema is read, a newer one is explained.

`run.schema.json` beside this file is a JSON Schema of today's.

    1   counts `unsure` and `excluded`, `withheld_reasons`
    2   the same as `abstained`, `excluded`, `excluded_reasons`; `tables_schema`: the schema of the tables' columns, of
        which 1 had no `part`, `copy_of` and doubts, and said `abstain` for abstained and excluded slices, 2 no
        `against_training`, and 3 `place` for `mask_index`, and a `window` as `-160…240 HU`, not `[-160, 240] HU`
    3   `ended`, `exit_code`; `counts.files_added` and `files_removed` as `added` and `removed`, beside `counts`,
        of which `abstained`, `excluded` and `classes` take copies once; how many these are: `copies`

A field that is added needs no new schema: who does not know it passes it over, for
run.json is a record and nothing is computed from it. A field that is renamed, goes, or takes another meaning does, and
the step from the schema before stands here then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.files import read_regular
from lits_deploy.release import __version__

SCHEMA = 3
_RENAMED = {"unsure": "abstained", "withheld": "excluded", "withheld_reasons": "excluded_reasons"}

_MOST = 64 << 20  # a few kB, and the patterns to ignore


def read_run_json(path: Path) -> dict[str, Any]:
    """What run.json holds, in today's schema. Raises OutputError where it is missing, no such record, or newer."""
    again = "run the command that made it once more"
    try:
        values = json.loads(read_regular(path, _MOST))
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}).", fix=again) from error
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise OutputError(f"{path} is not JSON.", fix=again) from error
    schema = values.get("schema") if isinstance(values, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise OutputError(f"{path} is no record of a run.", fix=again)
    if schema > SCHEMA:
        raise OutputError(
            f"{path} has schema {schema}, and lits-deploy {__version__} knows those up to {SCHEMA}.",
            fix="update lits-deploy",
        )
    if schema < SCHEMA and isinstance(values.get("counts"), dict):
        counts = dict(values["counts"])
        if schema == 1:
            counts = {_RENAMED.get(name, name): value for name, value in counts.items()}
            values["tables_schema"] = 1
        # When such a run ended, and how, nobody noted.
        moved = {"added": counts.pop("files_added", None), "removed": counts.pop("files_removed", None)}
        values |= {"schema": SCHEMA, "counts": counts, "ended": None, "exit_code": None, **moved}
    return dict(values)
