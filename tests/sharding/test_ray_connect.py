"""The way to a Ray cluster: every failure in one line. Without Ray."""

from __future__ import annotations

import socket
import time

import pytest

from lits_deploy.errors import UserError
from lits_deploy.sharding import ray_connect


def test_where_nothing_listens_it_is_said_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(
        UserError, match=rf"The Ray cluster at 127\.0\.0\.1:{port} cannot be reached \(.*refused\)\. Fix"
    ):
        ray_connect._reach(f"127.0.0.1:{port}")
    assert time.monotonic() - begun < ray_connect.REACH_S + 1


@pytest.mark.parametrize(
    ("raised", "address", "said"),
    [
        (ConnectionError("ray client connection timeout"), "h:1", "No Ray Client server answers at h:1."),
        (
            ConnectionError("Could not find any running Ray instance. Please specify"),
            "auto",
            "This machine is a node of no Ray cluster.",
        ),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.11.7"),
            "auto",
            "Ray or Python here differ from the cluster's (Version mismatch: The cluster was started with: Ray: 2.50.0",
        ),
        (RuntimeError("Python minor versions differ between client and server"), "h:1", "Ray or Python here differ"),
        (
            RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing"),
            "h:1",
            "The Ray cluster at h:1 wants its",
        ),
        (ValueError("x" * 1000), None, f"Ray on this machine cannot be used ({'x' * 300})."),
    ],
)
def test_what_ray_raises_becomes_a_line_with_a_fix(raised: Exception, address: str | None, said: str) -> None:
    error = ray_connect._user_error(raised, address)
    assert error.message.startswith(said)
    assert error.fix
    assert "\n" not in str(error)


def test_a_token_that_is_wanted_is_told_from_the_cause() -> None:
    raised = ConnectionError("Failed to connect to Ray cluster at 192.0.2.2:6388")
    raised.__cause__ = RuntimeError("Note: RAY_AUTH_MODE is currently 'disabled'")
    assert "wants its token" in ray_connect._user_error(raised, "auto").message


def test_a_cluster_is_reached_for_before_ray_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(ray_connect.os, "environ", dict[str, str]())
    session = ray_connect.RayConnection()
    monkeypatch.setattr(session, "_init", lambda *_: pytest.fail("Ray was asked"))
    with pytest.raises(UserError, match="cannot be reached"):
        session.connect(f"127.0.0.1:{port}", None)  # type: ignore[arg-type]
