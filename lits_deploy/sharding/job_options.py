"""Which options of a run a job fixes for all of its shards, and the salt that they are given.

What changes results is settled when a job is planned and stands in job.json; what only changes speed, and the device,
is the choice of whoever does a shard (a merge refuses shards of unequal kinds of device). The salt comes from a file or
the environment at every step: JOB holds a mark of it, which a wrong one does not match.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lits_deploy import private
from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_text
from lits_deploy.pipeline.naming import pseudonyms
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pseudonyms import Pseudonyms, key_of
from lits_deploy.scans import Reading
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.record import JobRecord

SALT_FILE_VARIABLE, SALT_VARIABLE = "LITS_DEPLOY_SALT_FILE", "LITS_DEPLOY_SALT"

FIXED = (
    *("runtime", "artifact", "precision", "recursive", "abstain", "operating_point", "identify", "pseudonymous"),
    *("follow_links", "time_limit_s", "memory_limit_mib", "reading"),
)
"""Fields of `ClassifyOptions` that a job fixes; a runtime of `auto` is left to whoever does a shard."""


def to_json(options: ClassifyOptions) -> dict[str, Any]:
    """What a job fixes, as plain values."""
    fixed = {name: getattr(options, name) for name in FIXED}
    return {**fixed, "reading": asdict(options.reading)}


def options_of(record: JobRecord, own: ClassifyOptions) -> ClassifyOptions:
    """The options of a shard or merge: the job's where it fixes them, else its own.

    Raises OutputError for options of a newer version.
    """
    fixed = dict(record.options)
    if unknown := sorted(set(fixed) ^ set(FIXED)):
        raise OutputError(f"The job was planned by another lits-deploy ({unknown[0]}).", fix="use one version for all")
    fixed["reading"] = Reading(**fixed["reading"])
    if fixed["runtime"] == "auto":
        fixed["runtime"] = own.runtime
    return replace(own, **fixed)


def check_fixed(record: JobRecord, own: ClassifyOptions) -> None:
    """Raise UserError where somebody asks for what the job fixes otherwise; defaults are no wish."""
    asked, defaults = to_json(own), to_json(ClassifyOptions())
    for name, value in asked.items():
        fixed = record.options.get(name)
        if value not in (defaults[name], fixed) and not (name == "runtime" and fixed == "auto"):
            planned = "the default" if fixed is None else fixed
            raise UserError(
                f"The job was planned with another `{name}` ({planned} there, {value} here).",
                fix="leave it out, or plan anew with --out elsewhere",
            )


def with_salt(options: ClassifyOptions, environment: Mapping[str, str] = os.environ) -> ClassifyOptions:
    """The options with the salt that they or the environment name. Raises UserError where there is none."""
    if options.salt is not None or options.salt_file is not None:
        return options
    if file := environment.get(SALT_FILE_VARIABLE):
        return replace(options, salt_file=Path(file))
    if salt := environment.get(SALT_VARIABLE):
        return replace(options, salt=key_of(salt.strip()))  # what the file holds, as a secret of a cluster has it
    raise UserError(
        "A job needs a salt: who plans, does a shard or merges uses the same.",
        fix=f"--salt-file FILE outside JOB, or {SALT_FILE_VARIABLE}; `lits-deploy plan` makes the file",
    )


def make_salt_file(options: ClassifyOptions, job: JobFolder) -> bool:
    """Make the salt file that the options name, for its owner alone, if there is none; whether it was made.

    Raises UserError where the job was planned already, or is where the file would lie; OutputError where it cannot be
    written.
    """
    path = options.salt_file
    if path is None or path.exists() or path.is_symlink():
        return False
    if job.folder is not None and job.folder.resolve() in path.resolve().parents:
        raise UserError("The salt must not lie in JOB, which others are given.", fix="--salt-file FILE elsewhere")
    if job.exists():
        raise UserError(f"There is no salt file {path}.", fix=f"the one that {job.location} was planned with")
    try:
        with private.private():
            write_text(path, secrets.token_bytes(16).hex() + "\n")
    except OSError as error:
        raise OutputError(
            f"The salt file {path} cannot be made ({error.strerror}).", fix="another --salt-file"
        ) from error
    return True


def names_of(options: ClassifyOptions) -> Pseudonyms:
    """How a run with these options, which have a salt, names things. Raises UserError for a file that will not do."""
    return pseudonyms(options, Path())


def check_salt(record: JobRecord, names: Pseudonyms) -> None:
    """Raise UserError where this is not the salt that the job was planned with."""
    if names.mark != record.mark:
        raise UserError(
            f"The job was planned with another salt (mark {record.mark[:6]} there, {names.mark[:6]} here).",
            fix="the --salt-file of `lits-deploy plan`",
        )
