"""What users type as a location."""

from __future__ import annotations

from pathlib import Path

import pytest

from lits_deploy.errors import UserError
from lits_deploy.storage import location_of


def test_paths_and_file_urls_are_of_this_machine() -> None:
    assert location_of("scans/a").path == Path("scans/a")
    assert location_of("file:///data/my%20scans").path == Path("/data/my scans")
    assert location_of("a:b/c").path == Path("a:b/c")
    assert location_of("/data").path == Path("/data")


def test_buckets_and_keys() -> None:
    where = location_of("s3://scans/2024/ct%20a/")
    assert (where.path, where.bucket, where.key, str(where)) == (None, "scans", "2024/ct%20a", "s3://scans/2024/ct%20a")
    assert str(location_of("S3://scans")) == "s3://scans"


@pytest.mark.parametrize("text", ["gs://b/x", "http://host/x", "abfs://c/x", "hdfs://h/x"])
def test_other_schemes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not read") as refused:
        location_of(text)
    assert "s3://" in refused.value.fix


@pytest.mark.parametrize("text", ["s3://", "s3:///x", "s3://b", "file://host/x", "s3://scans/a//b", "s3://scans/../b"])
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(UserError):
        location_of(text)


def test_credentials_in_a_location_are_refused_and_not_quoted() -> None:
    with pytest.raises(UserError, match="holds no credentials") as refused:
        location_of("s3://key:secret@bucket/x")
    assert "secret@" not in str(refused.value)
    assert "key:" not in str(refused.value)
