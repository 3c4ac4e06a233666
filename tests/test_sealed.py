"""Content in memory that nobody changes any more: seals, paths, and bytes where the system has none."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lits_deploy.sealed import Sealed, sealed, sha256

PIECES = [b"one ", b"two ", b"three" * 1000]
WHOLE = b"".join(PIECES)


def held() -> Sealed:
    content = sealed("network", PIECES)
    assert isinstance(content, Sealed)
    return content


def link(path: Path) -> str:
    """What it leads to; nothing where it is gone, as what lists the folder."""
    return str(path.readlink()) if path.is_symlink() else ""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_is_what_came_by_path_view_and_pieces() -> None:
    content = held()
    assert (content.size, bytes(content.view)) == (len(WHOLE), WHOLE)
    assert (Path(content.path).read_bytes(), b"".join(content.blocks())) == (WHOLE, WHOLE)
    assert sha256(content) == sha256(WHOLE) == hashlib.sha256(WHOLE).hexdigest()
    content.give_back()
    assert bytes(content.view) == WHOLE


def test_nobody_changes_it() -> None:
    content = held()
    handle = os.open(content.path, os.O_RDWR)
    changes: list[Callable[[], object]] = [
        lambda: os.pwrite(handle, b"x", 0),
        lambda: os.pwrite(handle, b"x", content.size),
        lambda: os.ftruncate(handle, 3),
        lambda: os.ftruncate(handle, content.size + 1),
        lambda: mmap.mmap(handle, content.size),
        lambda: fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL),
    ]
    for change in changes:
        with pytest.raises(PermissionError):
            change()
    os.close(handle)
    with pytest.raises(TypeError):
        content.view[0:1] = b"x"
    assert bytes(content.view) == WHOLE


def test_no_child_inherits_it() -> None:
    content = held()
    listed = subprocess.run(
        [sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"], capture_output=True
    )
    assert f"'{content.path.rpartition('/')[2]}'" not in listed.stdout.decode()


def test_closed_it_has_no_path_and_leaves_nothing_open() -> None:
    before = descriptors()
    content = held()
    reader = memoryview(content.view)
    content.close()
    content.close()
    with pytest.raises(ValueError, match="closed"):
        _ = content.path
    assert bytes(reader) == WHOLE  # whoever still reads it
    del reader, content
    assert descriptors() == before
    held()  # and nobody has to close it
    assert descriptors() == before


def refuse(*_: object) -> int:
    raise OSError(errno.EPERM, "not allowed")


@pytest.mark.parametrize("fault", ["no call", "refused", "no seals", "no path"])
def test_where_the_system_has_none_it_is_bytes(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open
    if fault == "no call":
        monkeypatch.delattr(os, "memfd_create")
    elif fault == "refused":
        monkeypatch.setattr(os, "memfd_create", refuse)
    elif fault == "no seals":
        monkeypatch.setattr(fcntl, "fcntl", refuse)
    else:
        monkeypatch.setattr(
            os, "open", lambda path, *more: refuse() if str(path).startswith("/proc") else real(path, *more)
        )
    before = descriptors()
    assert sealed("network", PIECES) == WHOLE
    assert descriptors() == before


def test_nothing_is_nothing() -> None:
    assert sealed("network", []) == b""


def test_a_limit_on_files_is_none_on_networks() -> None:
    """`ulimit -f` counts what is written into memory, too."""
    code = "from lits_deploy.sealed import sealed; print(len(sealed('network', [bytes(700)] * 9)))"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit)
    assert (ran.stdout, ran.stderr) == ("6300\n", "")


def test_an_error_of_the_source_is_raised() -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise OSError(errno.EIO, "the disk")

    before = descriptors()
    with pytest.raises(OSError, match="the disk"):
        sealed("network", broken())
    assert descriptors() == before


def test_what_was_written_into_it_before_it_was_sealed_is_hashed() -> None:
    """Another program of the same user may open it by /proc while it is filled."""

    def pieces() -> Iterator[bytes]:
        for piece in PIECES:
            yield piece
            (path,) = (path for path in Path("/proc/self/fd").glob("*") if "memfd:altered" in link(path))
            with path.open("r+b") as other:
                other.write(b"X")

    content = sealed("altered", pieces())
    assert sha256(content) == hashlib.sha256(b"X" + WHOLE[1:]).hexdigest()
