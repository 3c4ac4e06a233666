"""The elements of a DICOM file up to its pixels: parsed under limits, and read as plain values, never as prose.

pydicom parses the structure (PS3.10, PS3.5). It is handed the bytes after the file meta information, because left
alone it inflates a deflated data set without limit. Values are then read from the raw bytes of a few known elements: no
character set is decoded, nothing is validated, and nothing that a header says can end in a warning or a log.
Knows nothing about what the values mean.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydicom.datadict import keyword_dict
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag

from lits_deploy.errors import SliceError
from lits_deploy.scans import kinds

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

MOST_HEADER = 12 << 20
"""Bytes before the pixels. A thousand frames of enhanced CT take two or three MiB; twelve MiB of empty items keep
pydicom busy for 10 to 20 s and in 700 MiB, which the limits of a worker still allow."""

MOST_ELEMENTS = 50_000
MOST_INFLATED = 512 << 20
MOST_VALUE = 4096
"""Bytes of a value that is looked at; the longest that matter have a few dozen."""

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its log quotes headers, too

_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_CHUNK = 1 << 20


@cache
def tag(keyword: str) -> BaseTag:
    """The tag of an attribute by its keyword in the dictionary (PS3.6). Raises KeyError for what is none."""
    return BaseTag(keyword_dict[keyword])


SHARED_GROUPS, FRAME_GROUPS = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_PIXEL_DATA = int(tag("PixelData"))  # a BaseTag would compare in Python, for every element


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Where the pixel data lie: `length` bytes of `data` from `start` on; None: encapsulated, up to a delimiter."""

    data: bytes
    start: int
    length: int | None


@dataclass(frozen=True, kw_only=True)
class Header:
    """syntax: transfer syntax UID. dataset: all elements before the pixels. pixels: None where there are none."""

    syntax: str
    dataset: Dataset
    pixels: Pixels | None


def parse(data: bytes) -> Header:
    """Parse a DICOM file's bytes up to its pixels. Raises SliceError for what is none, or is broken or a bomb."""
    preamble = data[128:132] == b"DICM"
    if not preamble and not kinds.looks_like_dicom(data[: kinds.HEAD]):
        raise SliceError("the file is empty" if not data else "not a DICOM file")
    with quiet():
        try:
            syntax, start = _meta(data, 132 if preamble else 0)
            if syntax == DEFLATED:
                data, start = _inflated(data, start), 0
            return _body(data, start, syntax)
        except (SliceError, MemoryError):
            raise
        except RecursionError as error:
            raise SliceError("the DICOM header is nested too deeply") from error
        except Exception as error:  # pydicom raises nearly anything on hostile bytes
            raise SliceError("the DICOM header is damaged") from error


def _meta(data: bytes, start: int) -> tuple[str, int]:
    """The transfer syntax, and where the data set starts. Without file meta information the bytes must tell."""
    stream = io.BytesIO(data)
    stream.seek(start)
    syntax = ""
    if data[start : start + 2] == b"\x02\0":
        for element in data_element_generator(stream, False, True, stop_when=_Stop(lambda number: number >> 16 != 2)):
            if (
                element.tag == tag("TransferSyntaxUID")
                and isinstance(element.value, bytes)
                and len(element.value) <= MOST_VALUE
            ):
                syntax = "".join(_split(element.value)[:1])
    return syntax or _guess(data, stream.tell()), stream.tell()


def _guess(data: bytes, start: int) -> str:
    head = data[start : start + 6]
    if len(head) < 6:
        raise SliceError("the DICOM file is truncated: it ends before its data set")
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if struct.unpack("<H", head[:2])[0] > 0xFF:  # 0x0008 the other way round
        return BIG_ENDIAN
    return EXPLICIT if explicit else IMPLICIT


def _inflated(data: bytes, start: int) -> bytes:
    inflate, pieces, size, view = zlib.decompressobj(-zlib.MAX_WBITS), [], 0, memoryview(data)
    try:
        for at in range(start, len(data), _CHUNK):
            rest: bytes | memoryview = view[at : at + _CHUNK]
            while len(rest):
                pieces.append(inflate.decompress(rest, MOST_INFLATED + 1 - size))
                size += len(pieces[-1])
                if size > MOST_INFLATED:
                    raise SliceError(f"it inflates to more than {MOST_INFLATED >> 20} MiB: a deflate bomb?")
                rest = inflate.unconsumed_tail
    except zlib.error as error:
        raise SliceError("the deflated DICOM data are damaged") from error
    return b"".join(pieces)


def _body(data: bytes, start: int, syntax: str) -> Header:
    stop = _Stop(lambda number: number >= _PIXEL_DATA)
    cut = len(data) - start > MOST_HEADER
    stream = io.BytesIO(data[start : start + MOST_HEADER] if cut else data)
    stream.seek(0 if cut else start)
    dataset = read_dataset(stream, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=stop)
    if not len(dataset):
        raise SliceError("the DICOM file holds no data set that can be read")
    if stop.tag is None and cut:
        raise SliceError(f"a DICOM header of more than {MOST_HEADER >> 20} MiB")
    if stop.tag != _PIXEL_DATA:
        return Header(syntax=syntax, dataset=dataset, pixels=None)
    value = stream.tell() + (start if cut else 0) + (12 if stop.vr in _LONG else 8)
    length = None if stop.length == _UNDEFINED else stop.length
    return Header(syntax=syntax, dataset=dataset, pixels=Pixels(data=data, start=value, length=length))


class _Stop:
    """Ends parsing at the first top-level element that `here` names, and remembers it; counts those before."""

    def __init__(self, here: Any) -> None:
        self._here, self._count = here, 0
        self.tag: int | None = None
        self.vr: str | None = None
        self.length = 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise SliceError(f"more than {MOST_ELEMENTS:,} elements in the DICOM header")
        if not self._here(int(tag)):
            return False
        self.tag, self.vr, self.length = int(tag), vr, length
        return True


@contextmanager
def quiet(action: Literal["ignore", "error"] = "ignore") -> Iterator[None]:
    """Keep pydicom's warnings, which quote the header, from the terminal; or make errors of them."""
    with warnings.catch_warnings():  # of this process: read in one thread of it
        warnings.simplefilter(action)
        yield


def holds(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there, empty or not; as `raw`, without parsing a tag."""
    return tag(keyword) in dataset._dict


def raw(dataset: Dataset, keyword: str) -> tuple[bytes, str]:
    """An element's bytes, and `<` or `>`; empty where it is missing, no plain value or longer than MOST_VALUE."""
    element = dataset._dict.get(tag(keyword))  # `get_item` parses the tag first: a fifth of what a header costs
    value = getattr(element, "value", None)
    endian = "<" if getattr(element, "is_little_endian", True) else ">"
    return (value, endian) if isinstance(value, bytes) and len(value) <= MOST_VALUE else (b"", endian)


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of a CS, UI, DS or IS element as text, stripped; none where it is missing or empty."""
    return _split(raw(dataset, keyword)[0])


def _split(value: bytes) -> list[str]:
    stripped = value.decode("latin-1").strip("\0 \r\n\t")
    return [part.strip("\0 ") for part in stripped.split("\\")] if stripped else []


def text(dataset: Dataset, keyword: str) -> str:
    """The first value of a CS, UI, DS or IS element; empty where there is none."""
    found = texts(dataset, keyword)
    return found[0] if found else ""


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """The values of a DS or IS element if there are exactly `count`, all of them finite."""
    try:
        values = tuple(float(part) for part in texts(dataset, keyword))
    except ValueError:
        return None
    sane = len(values) == count and all(math.isfinite(value) and abs(value) < 1e9 for value in values)
    return values if sane else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """The only value of a DS or IS element."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def integer(dataset: Dataset, keyword: str, *, signed: bool = False) -> int | None:
    """The first value of a US or SS element."""
    value, endian = raw(dataset, keyword)
    return int(struct.unpack(endian + ("h" if signed else "H"), value[:2])[0]) if len(value) >= 2 else None


def binary(dataset: Dataset, keyword: str, code: str) -> tuple[float, ...]:
    """The values of a US (`H`), UL (`I`) or FD (`d`) element that are finite."""
    value, endian = raw(dataset, keyword)
    size = struct.calcsize(code)
    found = struct.unpack(f"{endian}{len(value) // size}{code}", value[: len(value) // size * size])
    return tuple(one for one in found if math.isfinite(one))


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is missing or broken."""
    if not holds(dataset, keyword):
        return []
    with quiet():
        try:
            element = dataset[tag(keyword)]
            return list(element.value) if element.VR == "SQ" else []
        except (MemoryError, SliceError):
            raise
        except Exception:  # as above: the sequence is as good as missing
            return []


class Groups:
    """A frame's functional groups, then the shared ones, then the top level."""

    def __init__(self, groups: list[Dataset], top: Dataset) -> None:
        self._groups, self.top = groups, top
        self._found: dict[str, list[Dataset]] = {}

    def holding(self, macro: str, attribute: str) -> Dataset:
        """The data set in which an attribute of a functional group macro is to be looked for."""
        return next((item for item in self._of(macro) if holds(item, attribute)), self.top)

    def first(self, macro: str) -> Dataset | None:
        """A functional group macro, the frame's before the shared one; None where there is none."""
        return next(iter(self._of(macro)), None)

    def _of(self, macro: str) -> list[Dataset]:
        if macro not in self._found:
            self._found[macro] = [item for group in self._groups for item in items(group, macro)[:1]]
        return self._found[macro]
