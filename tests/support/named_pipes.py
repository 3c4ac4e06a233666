"""Named pipes without a writer: a test of code that must not wait for one fails, where it waits, and does not hang."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def not_waiting_for(pipe: Path, call: Callable[[], T]) -> T:
    """What `call` returns or raises; AssertionError if it is still busy with the pipe after 5 s."""
    ended: dict[str, Any] = {}

    def run() -> None:
        try:
            ended["result"] = call()
        except BaseException as error:
            ended["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5)
    waited = thread.is_alive()
    while thread.is_alive():  # a writer that comes and goes lets it go on
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
        thread.join(0.1)
    assert not waited, "it waited for the pipe's writer"
    if "error" in ended:
        raise ended["error"]
    return ended["result"]  # type: ignore[no-any-return]
