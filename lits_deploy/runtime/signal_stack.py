"""The calling thread's alternate signal stack, kept as it was around a library that changes it.

OpenVINO's CPU plug-in (2026.2, through its scheduler) gives a thread that computes a signal stack of its own, and frees
that memory when the network goes. With two networks in one thread the freed one can stay registered, and the next
signal that a handler waits for, such as Ctrl-C or the end of a child process, kills the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of Linux on 64 bits."""

    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


_sigaltstack = getattr(ctypes.CDLL(None), "sigaltstack", None)


@contextmanager
def kept() -> Iterator[None]:
    """Put the thread's signal stack back to what it was; about a microsecond."""
    before = _Stack()
    if _sigaltstack is None or _sigaltstack(None, ctypes.byref(before)) != 0:
        yield
        return
    try:
        yield
    finally:
        _sigaltstack(ctypes.byref(before), None)
