"""Which slices a benchmark's accuracies are of, and whether two benchmarks were scored on the same ones.

`data.test_set_sha256` of a document hashes the slices as they are stored (their files' names and bytes, and their
labels), so it does not depend on the folder's name or on what a network makes of them. Documents made before it was
recorded lack it: then only the line that describes the data is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from export.answers import Identity
from train.data.layout import Sample

KEY = "test_set_sha256"
NOT_RECORDED = "test set not recorded"

Document = dict[str, Any]
Relation = Literal["same", "different", "not recorded"]


def sha256_of_samples(samples: Iterable[Sample]) -> str:
    """Of files: names, bytes, and their masks' bytes or given classes, in order. Raises OSError."""
    identity = Identity()
    for sample in samples:
        label = str(sample.target).encode() if sample.mask is None else sample.mask.read_bytes()
        identity.add(sample.image.name, sample.image.read_bytes(), label)
    return identity.hexdigest()


def named(document: Document) -> str:
    """The test set in words: the data's line with the hash, or that there is none."""
    digest = document["data"].get(KEY)
    return f"{document['data']['line']} ({NOT_RECORDED if digest is None else f'test set {digest[:12]}'})"


def key(document: Document) -> tuple[str, ...]:
    """Equal for documents whose figures of accuracy may stand in one drawing: same figure, same slices."""
    data = document["data"]
    return (document["bundle"].get("task", "classify"), data.get(KEY) or f"? {data['line']}")


def relation(one: Document, other: Document) -> Relation:
    """Whether two documents were scored on the same slices. Without hashes equal lines are no proof of it."""
    a, b = one["data"].get(KEY), other["data"].get(KEY)
    if a is not None and b is not None:
        return "same" if a == b else "different"
    return "not recorded" if one["data"]["line"] == other["data"]["line"] else "different"


def scored(rows: Sequence[dict[str, Any]]) -> bool:
    """True where a row has an accuracy."""
    return any(row["accuracy"] is not None for row in rows)
