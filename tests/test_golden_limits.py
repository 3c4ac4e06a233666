"""golden.npz from a stranger: only what the contract leads one to expect is inflated."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.files import sha256_file
from lits_deploy.goldens import read_golden
from tiny_bundle import make_tiny_bundle, with_manifest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("goldens") / "bundle", size=32, crop=28)


def with_golden(bundle: Bundle, data: bytes) -> Bundle:
    path = bundle.folder / "golden.npz"
    path.write_bytes(data)
    return with_manifest(bundle, files={**bundle.manifest.files, "golden.npz": sha256_file(path)})


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


SLICES, ANSWERS = np.zeros((2, 1, 32, 32), np.uint8), np.zeros((2, 3), np.float32)
GOOD = npz(slices=SLICES, probabilities=ANSWERS)


def npy(header: bytes, content: bytes = b"") -> bytes:
    head = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a name that comes twice
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def test_goldens_are_read(bundle: Bundle) -> None:
    slices, answers = read_golden(with_golden(bundle, GOOD))
    assert (slices == SLICES).all()
    assert (answers == ANSWERS).all()
    maps = np.full((2, 3, 28, 28), 0.5, np.float32)
    assert (read_golden(with_golden(bundle, npz(slices=SLICES, probabilities=maps)))[1] == maps).all()


OBJECTS = np.array([{"a": 1}], dtype=object)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no plain zip"),
        (b"PK", "no plain zip"),
        (GOOD[:-1], "no plain zip"),
        (GOOD[:100] + GOOD[200:], "goldens"),
        (npz(slices=SLICES), "probabilities"),
        (npz(slices=SLICES, probabilities=ANSWERS, extra=ANSWERS), "extra.npy is none"),
        (npz(slices=SLICES.astype(np.float32), probabilities=ANSWERS), "slices is float32"),
        (npz(slices=SLICES[:, :, :16], probabilities=ANSWERS), "slices is uint8"),
        (npz(slices=SLICES[0], probabilities=ANSWERS), "slices is uint8"),
        (npz(slices=SLICES[:0], probabilities=ANSWERS[:0]), "slices is uint8"),
        (npz(slices=np.zeros((1025, 1, 32, 32), np.uint8), probabilities=ANSWERS), "slices is uint8"),
        (npz(slices=SLICES, probabilities=ANSWERS[:1]), "2 slices and 1 answers"),
        (npz(slices=SLICES, probabilities=OBJECTS), "probabilities is object"),
        (zipped(("slices.npy", npy(b"{'descr': '|u1'}"))), "goldens"),
        (zipped(("slices.npy", npy(b"__import__('os').abort()"))), "goldens"),
        (zipped(("slices.npy", npy(b"(" * 110))), "no header"),
        (zipped(("slices.npy", b"")), "goldens"),
        (zipped(("slices.npy", npy(b"{'descr':'|u1','fortran_order':False,'shape':(2,1,32,32)}"))), "not as long"),
        (zipped(("slices.npy", b"x"), method=zipfile.ZIP_LZMA), "packed by method 14"),
        (zipped(*[("slices.npy", b"")] * 200), "table of contents is too long"),
    ],
)
def test_anything_else_is_one_line(bundle: Bundle, data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says) as caught:
        read_golden(with_golden(bundle, data))
    assert "\n" not in str(caught.value)


VERIFY = """
import sys
from pathlib import Path
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.goldens import read_golden
from lits_deploy.machine import peak_resident_bytes
before = peak_resident_bytes()
try:
    read_golden(Bundle.open(Path(sys.argv[1])))
except BundleError as error:
    print(error)
print((peak_resident_bytes() - before) >> 10)
"""


@pytest.mark.parametrize("shape", [(4_100_000, 1, 32, 32), (2, 1, 32, 32)])
def test_a_bomb_is_never_inflated(bundle: Bundle, shape: tuple[int, ...]) -> None:
    """3.8 MB that hold 4.1 GB of slices, and the same under a header that says little."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("slices.npy", "w") as member:
        member.write(npy(f"{{'descr':'|u1','fortran_order':False,'shape':{shape}}}".encode()))
        block = bytes(1 << 22)
        for _ in range(64):  # a sixteenth of it is enough to be seen
            member.write(block)
    again = with_golden(bundle, stream.getvalue())
    done = subprocess.run([sys.executable, "-c", VERIFY, str(again.folder)], capture_output=True, text=True, check=True)
    line, grown = done.stdout.splitlines()
    assert line.startswith("golden.npz does not hold goldens (slices is ")
    assert int(grown) << 10 < 48 << 20, "of 256 MiB"


def test_a_contract_of_large_slices_inflates_no_bomb_either(tmp_path: Path) -> None:
    """The contract is a stranger's, too: 18 MB held 4.3 GB of slices, and verify took 8.5 GB."""
    large = make_tiny_bundle(tmp_path / "large", size=1024, crop=896)
    header = npy(b"{'descr':'|u1','fortran_order':False,'shape':(1000,1,1024,1024)}")
    again = with_golden(large, zipped(("slices.npy", header)))  # refused before its content is looked for
    with pytest.raises(BundleError, match="slices takes 1,000 MiB"):
        read_golden(again)
