"""Fixtures for all tests: where the shared trial data is, and a tiny real bundle."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3_server import ENVIRONMENT, S3Server

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`../shared/data` beside the checkout; tests that need it skip where it is missing."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data (real slices that must not be in the repository)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def signals_work() -> Iterator[None]:
    """Shells start background jobs with Ctrl-C ignored, nohup with hang-ups, and children inherit that."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [number for number in handlers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, handlers[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def running_server() -> Iterator[S3Server]:
    """An S3 store on the loopback, started when the first test asks for it."""
    with S3Server() as server:
        yield server


@pytest.fixture
def server(running_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The store without faults; the environment has its endpoint and credentials for it."""
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": running_server.endpoint}).items():
        monkeypatch.setenv(name, value)
    running_server.well()
    return running_server
