"""Slices that are the same picture, found by a perceptual hash: one on the training side and one on the test side is a
leak, whatever their names say.

The hash is a difference hash (dHash) with a dead zone: the slice is averaged to 32×32 cells, and each of the 1,984
bits says whether a cell is more than 4 grey levels brighter than its left, or its upper, neighbour. The dead zone keeps
flat air at 0 under JPEG noise. Two slices whose bits differ in at most 60 places are called copies.

Measured on 26 LiTS patients (4,471 slices) and 24 phantoms (1,000 slices), bits that differ:
- copies: JPEG quality 90 up to 20, quality 50 up to 45, 10 levels brighter 15, 15 % brighter 39, enlarged to 512 up to
  20, all three together 29; shrunk to 200 px half of them 36, 95 % up to 57, at most 72;
- different patients: at least 192 (LiTS; 281 without volumes 8 and 9, which look like one body) and 123 (phantoms);
- every second slice of one patient: 15 to 172, median 90. So a patient under two names is found by many of its slices.

A slice with fewer than 150 bits set is nearly blank (air, a test card) and is not compared: LiTS slices have 216 or
more, phantoms 226. Turned, mirrored or cropped copies are not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELLS, DEAD_ZONE = 32, 4.0
BITS = 2 * CELLS * (CELLS - 1)
FEWEST_SET = 150
MOST_DIFFERENT = 60
BANDS = BITS // 32
"""Bands of 32 bits. 62 bands and at most 60 different bits: copies agree in two whole bands or more."""

MOST_COPIES = 200_000
"""Pairs after which the search ends: more tells nobody more."""

_AT_ONCE = 1 << 16
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
# Neighbouring bits say much the same, so every band takes its bits from all over the slice.
_SHUFFLE = np.random.default_rng(20231).permutation(BITS)

Codes = npt.NDArray[np.uint32]


def fingerprint(pixels: npt.NDArray[np.uint8]) -> bytes | None:
    """The hash of a slice uint8 [256, 256] in 248 bytes, or None for a nearly blank one."""
    side = pixels.shape[0] // CELLS
    cells = pixels.reshape(CELLS, side, CELLS, side).mean(axis=(1, 3), dtype=np.float32)
    across = cells[:, 1:] - cells[:, :-1] > DEAD_ZONE
    down = cells[1:] - cells[:-1] > DEAD_ZONE
    bits = np.concatenate([across.ravel(), down.ravel()])
    if bits.sum() < FEWEST_SET:
        return None
    return np.packbits(bits[_SHUFFLE]).tobytes()


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Two slices, by index, that are one picture; `bits` of 1,984 differ."""

    first: int
    second: int
    bits: int


def find_copies(codes: Sequence[bytes | None], splits: Sequence[int], people: Sequence[int]) -> list[Copy]:
    """Pairs of slices in different splits, of different patients, that are one picture; in order of index.

    codes: fingerprints, None is left out; splits, people: number of split and patient of each slice. Of slices that
    agree bit for bit within a split and patient, the first stands for all. 58,000 slices take a few seconds: pairs are
    compared only where a whole band of their bits agrees.
    """
    kept = [index for index, code in enumerate(codes) if code is not None]
    if not kept:
        return []
    bits = np.frombuffer(b"".join(code for code in codes if code is not None), np.uint32).reshape(len(kept), BANDS)
    index, split, person = np.array(kept), np.asarray(splits)[kept], np.asarray(people)[kept]
    _, one_of_each = np.unique(np.column_stack([split, person, bits]), axis=0, return_index=True)
    one_of_each.sort()
    bits, index, split, person = bits[one_of_each], index[one_of_each], split[one_of_each], person[one_of_each]
    found: dict[tuple[int, int], int] = {}
    for band in range(BANDS):
        for first, second in _agreeing(bits[:, band], split):
            other = person[first] != person[second]
            first, second = first[other], second[other]
            different = _distance(bits, first, second)
            alike = different <= MOST_DIFFERENT
            for a, b, count in zip(first[alike], second[alike], different[alike], strict=True):
                pair = (int(index[a]), int(index[b]))
                found[min(pair), max(pair)] = int(count)
        if len(found) >= MOST_COPIES:
            break
    return [Copy(first=a, second=b, bits=count) for (a, b), count in sorted(found.items())]


def _agreeing(
    keys: npt.NDArray[np.uint32], split: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Positions (first, second) of equal keys in different splits, in blocks of bounded size."""
    order = np.argsort(keys, kind="stable")
    names = np.unique(split)
    for number, name in enumerate(names):
        here = order[split[order] == name]
        there = order[np.isin(split[order], names[number + 1 :])]
        low = np.searchsorted(keys[here], keys[there], "left")
        high = np.searchsorted(keys[here], keys[there], "right")
        many = high - low
        ends = np.cumsum(many)
        begun = 0
        while begun < len(there):
            done = ends[begun - 1] if begun else 0
            stop = max(begun + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
            counts = many[begun:stop]
            second = np.repeat(there[begun:stop], counts)
            offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            first = here[np.repeat(low[begun:stop], counts) + offset]
            if len(first):
                yield first, second
            begun = stop


def _distance(bits: Codes, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bits that differ, int64 [pairs]."""
    different = np.bitwise_xor(bits[first], bits[second]).view(np.uint8)
    return np.asarray(_ONES[different].sum(axis=1, dtype=np.int64))
