"""What a job fixes holds for every shard; the salt comes from outside, and a wrong one is seen."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from jobs import record
from lits_deploy.errors import OutputError, UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.scans import Reading
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.job_options import (
    FIXED,
    check_salt,
    make_salt_file,
    names_of,
    options_of,
    to_json,
    with_salt,
)

_FREE = {
    *("device", "batch_size", "workers", "threads", "tune", "engine_cache"),  # where and how fast
    *("formats", "overwrite", "group_readable", "allow_removed", "ignore", "ignore_none", "ledger"),  # of a merge
    *("salt", "salt_file", "retry_failed"),
}


def test_every_option_of_a_run_is_either_the_jobs_or_free() -> None:
    assert {*FIXED, *_FREE} == {field.name for field in fields(ClassifyOptions)}
    assert not {*FIXED} & _FREE


def test_a_job_fixes_what_changes_results() -> None:
    planned = ClassifyOptions(identify=True, time_limit_s=5, reading=Reading(any_body_part=True, trust="sform"))
    job = record(options=json.loads(json.dumps(to_json(planned))))
    own = ClassifyOptions(workers=3, salt="s", device="cuda:1", time_limit_s=9, runtime="openvino")
    got = options_of(job, own)
    assert (got.identify, got.time_limit_s, got.reading) == (True, 5, planned.reading)
    assert (got.workers, got.salt, got.device, got.runtime) == (3, "s", "cuda:1", "openvino")
    fixed = record(options=to_json(ClassifyOptions(runtime="onnxruntime")))
    assert options_of(fixed, own).runtime == "onnxruntime"


@pytest.mark.parametrize("change", [{"more": 1}, {"runtime": None}])
def test_options_of_another_version_are_refused(change: dict[str, object]) -> None:
    fields = {**to_json(ClassifyOptions()), **change}
    if change == {"runtime": None}:
        del fields["runtime"]
    with pytest.raises(OutputError, match="another lits-deploy"):
        options_of(record(options=fields), ClassifyOptions())


def test_the_salt_comes_from_options_or_environment() -> None:
    both = {"LITS_DEPLOY_SALT_FILE": "file", "LITS_DEPLOY_SALT": "text"}
    assert with_salt(ClassifyOptions(salt="own"), both).salt == "own"
    assert with_salt(ClassifyOptions(), both).salt_file == Path("file")
    assert with_salt(ClassifyOptions(), {"LITS_DEPLOY_SALT": "text"}).salt == b"text"
    with pytest.raises(UserError, match=r"A job needs a salt.*Fix: --salt-file"):
        with_salt(ClassifyOptions(), {"LITS_DEPLOY_SALT": ""})


def test_a_salt_file_is_made_once_and_private(tmp_path: Path) -> None:
    job, options = JobFolder(str(tmp_path / "job")), ClassifyOptions(salt_file=tmp_path / "new" / "salt")
    before = os.umask(0)
    try:
        assert make_salt_file(options, job)
    finally:
        os.umask(before)
    assert options.salt_file is not None
    assert options.salt_file.stat().st_mode & 0o777 == 0o600
    mark = names_of(options).mark
    assert not make_salt_file(options, job)
    assert names_of(options).mark == mark


def test_no_salt_is_made_for_a_job_that_has_one_nor_inside_it(tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    with pytest.raises(UserError, match="must not lie in JOB"):
        make_salt_file(ClassifyOptions(salt_file=tmp_path / "job" / "deep" / "salt"), job)
    job.write(record())
    with pytest.raises(UserError, match=r"There is no salt file .*\. Fix: the one that .*job was planned with"):
        make_salt_file(ClassifyOptions(salt_file=tmp_path / "salt"), job)
    assert not (tmp_path / "salt").exists()


def test_a_salt_file_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"salt file .* cannot be made"):
        make_salt_file(ClassifyOptions(salt_file=tmp_path / "file" / "salt"), JobFolder(str(tmp_path / "job")))


def test_a_wrong_salt_is_seen() -> None:
    right = names_of(ClassifyOptions(salt="right"))
    check_salt(record(mark=right.mark), right)
    with pytest.raises(UserError, match="planned with another salt"):
        check_salt(record(mark=right.mark), names_of(ClassifyOptions(salt="wrong")))


def test_the_variable_holds_what_the_file_holds(tmp_path: Path) -> None:
    """As a secret of a cluster does: the same names, whichever of the two a worker was given."""
    for text in ("0123456789abcdef" * 2, "plain words"):
        path = tmp_path / "salt"
        path.write_text(text + "\n")
        path.chmod(0o600)
        named = [
            names_of(with_salt(ClassifyOptions(), {name: value}))
            for name, value in (("LITS_DEPLOY_SALT_FILE", str(path)), ("LITS_DEPLOY_SALT", text + "\n"))
        ]
        assert named[0] == named[1]
