"""Options from a file: `--config FILE` of TOML, a table per command, keys as the options are spelled.

    [classify]
    batch-size = 16
    report = false                # --no-report
    format = "csv,parquet"

    [bundle.pack]                 # a command of a group
    overwrite = true

The command line counts first, then `$LITS_DEPLOY_<COMMAND>_<OPTION>`, then the file. A key that the command does not
have is refused, with the one that was meant, and so is such a variable.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lits_deploy.errors import UserError
from lits_deploy.printable import printable

MOST_BYTES = 1 << 20
"""Of a file of options."""

OF_KUBERNETES = re.compile(r"SERVICE_HOST|(SERVICE_)?PORT(_\w+)?")
"""What Kubernetes adds to a pod's environment for a service that is called as a command is."""


def read_config(path: Path, commands: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a file by command. UserError for one that cannot be read, or names no command."""
    try:
        with path.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", fix="name a file of TOML") from None
    tables = _parsed(path, text)
    for name, table in tables.items():
        if name not in commands:
            raise UserError(f"{path}: there is no command {name!r}.", fix=_meant(name, commands))
        if not isinstance(table, dict):
            raise UserError(f"{path}: {name} is no table.", fix=f"write [{name}], then a line per option")
    return tables


def defaults(table: Mapping[str, Any], command: Any, name: str, path: Path) -> dict[str, Any]:
    """A command's table by the names that its parameters have in Python; a group's by its members, as they are.

    path: the file that the table is of. Raises UserError for a key that is no option of the command.
    """
    if hasattr(command, "list_commands"):
        return dict(table)
    known = {
        option.removeprefix("--"): parameter.name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in parameter.opts
        if option.startswith("--")
    }
    found = {}
    for key, value in table.items():
        if key not in known or isinstance(value, dict):
            raise UserError(f"{path}: `{name}` has no --{printable(key)}.", fix=_meant(key, known))
        found[known[key]] = value
    return found


def refuse_unknown_variables(command: Any, prefix: str, environment: Mapping[str, str]) -> None:
    """Raises UserError for a variable `<prefix>_…` that sets nothing of a command, whose options have their variables.

    A group passes: its members have variables of their own.
    """
    if hasattr(command, "list_commands"):
        return
    start = f"{prefix}_"
    named = [
        name for one in command.params for name in ([one.envvar] if isinstance(one.envvar, str) else one.envvar or ())
    ]
    known = {name.removeprefix(start): name for name in named if name.startswith(start)}
    for name in sorted(environment):
        word = name.removeprefix(start)
        if name.startswith(start) and word not in known and not OF_KUBERNETES.fullmatch(word):
            close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
            fix = f"did you mean {known[close[0]]}?" if close else "unset it; docs/cli.md lists the options"
            raise UserError(f"The environment variable {printable(name)} sets no option.", fix=fix)


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            raise UserError("Python 3.10 reads no TOML by itself.", fix="pip install tomli") from None
    try:
        if len(text) > MOST_BYTES:
            raise ValueError("it is larger than 1 MiB")
        return tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no TOML: {printable(str(error))}.", fix="see docs/edge.md") from None


def _meant(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(known))}"
