"""What becomes of a file that a listing comes across: a record, or one more of those that are no scans.

The rules are the same whether it lies in a folder, in a zip or in an object store. The suffix decides or, where that
leaves it open, the first bytes (`scans.kinds`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lits_deploy.errors import SliceError
from lits_deploy.scans import READERS, SUFFIXES, ZIP, kinds
from lits_deploy.scans.archive import Archive, ZipMember

UNREADABLE = -1
"""Size of a record that is a failure already: a later, readable file of that path counts as changed."""

_NOT_A_SCAN = "neither a PNG, JPEG, DICOM or NIfTI file nor a zip"
_INDEX = "a DICOM directory, which is an index: name the folder that it stands in"


@dataclass(frozen=True)
class ScanRecord:
    """A scan file, or one inside a zip.

    path: escaped, relative to the base, with `/`; of a zip's member: the zip's path, `/` and the member's name.
    size: bytes (of a member: unpacked); mtime_ns, ctime_ns: the file's (of a member: the zip's).
    reason: why it is a failed row already, or None. kind: which reader it is for (`scans.READERS`).
    container: the zip's path where this is a member, and member its number in the zip's directory.
    unlisted: this is a folder or zip, and what lies in it is not known.
    etag: of an object of a store (of a member: its zip's); its mtime_ns is then a number made of it.
    shard: of a plan, that answers it (`lits_deploy.sharding`); None where there is no plan.
    """

    path: str
    size: int
    mtime_ns: int
    reason: str | None = None
    kind: str = ""
    container: str | None = None
    member: int | None = None
    ctime_ns: int = 0
    unlisted: bool = False
    etag: str | None = None
    shard: int | None = field(default=None, compare=False)


def by_suffix(suffix: str, name: str) -> kinds.Content | None:
    """What the name alone settles."""
    if (kind := SUFFIXES.get(suffix)) is not None:
        return kinds.Content(kind)
    if (reason := kinds.UNREAD_SUFFIXES.get(suffix)) is not None:
        return kinds.Content(reason=reason)
    if suffix in kinds.OTHER_SUFFIXES:
        return kinds.Content()
    return kinds.Content(kinds.DICOMDIR) if kinds.is_dicomdir(name) else None


def counted_as(content: kinds.Content, suffix: str) -> str:
    """Under which name a file that is no scan is counted."""
    return "DICOMDIR" if content.kind == kinds.DICOMDIR else kinds.common_suffix(suffix)


def why_none(name: str) -> str:
    """Why a file that the user named is no scan."""
    if kinds.suffix_of(name) == ".zip":
        return "no scan is in this zip"
    return _INDEX if kinds.is_dicomdir(name) else _NOT_A_SCAN


def member_of(archive: Archive, container: str, member: ZipMember) -> ScanRecord | str:
    """The record of a zip's member, or, where it is no scan, what it is counted as. container: the zip's path."""
    path, name = f"{container}/{member.label}", member.label.rpartition("/")[2]
    suffix, reason = kinds.suffix_of(name), member.reason
    content = by_suffix(suffix, name)
    if content is None and reason is None:
        try:
            content = kinds.by_content(archive.head(member.number, kinds.HEAD))
        except SliceError as error:
            reason = str(error)
    kind = content.kind if content else None
    if content is not None and kind not in READERS:
        reason = "a zip inside a zip: unpack it" if kind == ZIP else content.reason
        if reason is None:
            return counted_as(content, suffix)
    if reason is not None:
        return ScanRecord(path, UNREADABLE, 0, reason, container=container, member=member.number)
    return ScanRecord(
        path,
        member.size,
        archive.mtime_ns,
        kind=kind or "",
        container=container,
        member=member.number,
        ctime_ns=archive.ctime_ns,
        etag=archive.etag,
    )
