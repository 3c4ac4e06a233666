"""The folders of a watch: inbox and output apart, and one watch at a time on an output folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from lits_deploy.errors import OutputError, UserError
from lits_deploy.locks import folder_held
from lits_deploy.pipeline.options import ClassifyOptions

LOCK = ".lits-deploy.watch.lock"


def check_folders(inbox: Path, out: Path, options: ClassifyOptions, quiet_s: float) -> None:
    """Raise UserError for what cannot work."""
    if not inbox.is_dir():
        raise UserError(f"{inbox} is not a folder.", fix="make the inbox, or name another")
    if quiet_s < 0:
        raise UserError(f"A quiet time of {quiet_s:g} s does not work.", fix="use 0 or more")
    if not options.recursive:
        raise UserError("An inbox is not watched without its folders.", fix="leave out --no-recursive")
    for folder in (out, *([options.ledger] if options.ledger else [])):
        if inbox.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise OutputError(f"{folder} lies in the inbox and would be taken for a study.", fix="--out elsewhere")


def alone(folder: Path) -> AbstractContextManager[None]:
    """Refuse a second watch on an output folder; between runs, other commands may use the folder."""
    busy = OutputError(f"Another watch writes to {folder}.", fix="end it, or --out elsewhere")
    return folder_held(folder, LOCK, busy)
