"""Reading a packed bundle that comes from a stranger: refused before anything is written, if anything is odd.

None of a zip file's numbers is believed. Its names must be those of the manifest inside, plain, in one folder; sizes
must fit the manifest; what is inflated is counted as it comes. Backslashes in place of slashes and what file managers
put beside a bundle (`__MACOSX`, `Thumbs.db`), as Windows and macOS zip, are no fault. `Bundle.open` takes such a file
where a folder is taken; `lits_deploy.packing` writes and unpacks them.
"""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lits_deploy import zip_guard
from lits_deploy.errors import BundleError, SliceError, UserError
from lits_deploy.manifest import (
    MANIFEST,
    MANIFEST_HASH,
    MOST_MANIFEST,
    MOST_MANIFEST_HASH,
    MOST_OTHER,
    Manifest,
    digests_of,
    is_litter,
    read_manifest,
    warn_of_litter,
)
from lits_deploy.manifest_check import is_plain_name
from lits_deploy.manifest_history import UPDATE

MOST_MEMBERS = 256
"""Files in a zip: a bundle has five, and two more an artifact at most."""

MOST_TOTAL = 16 << 30
"""Bytes of all files: VGG16 in three precisions takes 1 GB."""

MOST_RATIO = 100
"""Largest size over packed size of a file above 1 MiB: weights reach 1.1, a bomb 1,000."""

_BLOCK = 1 << 20
_AGAIN = "get the file again from whoever packed it"


@dataclass(frozen=True)
class BundleZip:
    """A zip file that holds a bundle and stays open as long as this is.

    manifest, sha256, schema: as in `bundle.Bundle`. top: name of the folder inside; members: file name → entry.
    """

    path: Path
    manifest: Manifest
    sha256: str
    schema: int
    archive: zipfile.ZipFile
    top: str
    members: dict[str, zipfile.ZipInfo]

    def blocks(self, name: str, most: int) -> Iterator[bytes]:
        """A file of at most that many bytes in pieces, its hash not checked; BundleError where it is missing, larger or
        damaged."""
        if name not in self.members:
            raise _refused(self.path, f"{name} is missing")
        if (size := self.members[name].file_size) > most:
            raise _refused(self.path, f"{name} has {size:,} bytes, not {most:,} at most")
        return _blocks(self.path, self.archive, self.members[name])


def looks_like_bundle(path: Path) -> bool:
    """True for a folder or zip file that has both files of a bundle's manifest, whatever is in them."""
    names = {MANIFEST, MANIFEST_HASH}
    try:
        if path.is_dir():
            return all((path / name).is_file() for name in names)
        with zipfile.ZipFile(path) as archive:
            return names <= {re.split(r"[/\\]", name)[-1] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read_packed(path: Path) -> BundleZip:
    """The bundle in a zip file, its table of contents and manifest checked, no file but the manifest read.

    Raises BundleError, naming the fault, for anything else: it escapes its folder, holds what its manifest does not
    name, is encrypted, a bomb, or damaged.
    """
    if not path.is_file():
        what = "is a folder, not a zip file" if path.is_dir() else "does not exist"
        raise BundleError(f"{path} {what}.", fix="name a file that `lits-deploy bundle pack` made")
    try:
        with path.open("rb") as stream:
            zip_guard.opened(stream, path.stat().st_size).close()
        archive = zipfile.ZipFile(path)  # closes itself when nothing uses it any more
    except PermissionError as error:
        raise BundleError(f"{path} may not be read.", fix=f"chmod +r {path}") from error
    except (SliceError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BundleError(f"{path} is not a whole zip file ({error}).", fix=_AGAIN) from error
    # A zip cut short can end in golden.npz, a zip itself: its entries then start after foreign bytes.
    if min((info.header_offset for info in archive.infolist()), default=0):
        raise BundleError(f"{path} is not a whole zip file (it does not begin with its first entry).", fix=_AGAIN)
    top, members = _members(path, archive)
    _check_sizes(path, archive, members)
    manifest, digest, schema = _read_manifest(path, archive, members)
    packed = BundleZip(path, manifest, digest, schema, archive, top, members)
    _check_against_manifest(packed)
    return packed


def _members(path: Path, archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """Name of the one folder at the top, and the plain files in it by name."""
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        raise _refused(path, f"it holds {len(entries):,} entries, more than any bundle ({MOST_MEMBERS})")
    # Windows' own zips of old, and .NET's; a name with both is no such zip's, and the backslash is then refused.
    backslashes = any("\\" in info.orig_filename for info in entries)
    backslashes &= not any("/" in info.orig_filename for info in entries)
    tops: set[str] = set()
    members: dict[str, zipfile.ZipInfo] = {}
    seen: dict[str, str] = {}
    litter: set[str] = set()
    for info in entries:
        name = info.orig_filename  # `filename` was cut at a NUL
        shown = ascii(name)[1:-1]
        if backslashes:
            name = name.replace("\\", "/")
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
            raise _refused(path, f"the entry `{shown}` leads out of its folder")
        folder = name.endswith("/")
        plain = parts[:-1] if folder else parts
        if ignored := next(filter(is_litter, plain), None):
            litter.add(ignored)
            continue
        if not all(is_plain_name(part) for part in plain):
            raise _refused(path, f"the entry `{shown}` has no plain name")
        mode = info.external_attr >> 16
        if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
            raise _refused(path, f"the entry `{shown}` is a link or a device, not a file")
        if why := zip_guard.doubt(info, MOST_RATIO):
            raise _refused(path, f"the entry `{shown}`: {why}")
        tops.add(plain[0])
        if len(plain) != (1 if folder else 2):
            where = "at its top" if len(plain) == 1 else "in a folder below"
            raise _refused(path, f"`{shown}` lies {where}, not in the bundle's one folder")
        key = unicodedata.normalize("NFC", "/".join(plain)).casefold()
        if key in seen:
            what = "comes twice" if seen[key] == name else f"differs from `{ascii(seen[key])[1:-1]}` by case only"
            raise _refused(path, f"`{shown}` {what}")
        seen[key] = name
        if folder and info.file_size:
            raise _refused(path, f"the folder `{shown}` has content")
        if not folder:
            members[plain[1]] = info
    if litter:
        warn_of_litter(path, frozenset(litter))
    if len(tops) != 1:
        raise _refused(path, "it is empty" if not tops else f"it has {len(tops)} folders at its top, not one")
    return tops.pop(), members


def _check_sizes(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in members.values())
    if total > MOST_TOTAL:
        raise _refused(path, f"it would unpack to {total:,} bytes, more than any bundle ({MOST_TOTAL:,})")
    for name, info in members.items():
        if info.compress_size > info.file_size + info.file_size // 64 + 1024:
            raise _refused(path, f"{name} takes more room packed than the size it declares")
    if shared := zip_guard.overlapping(archive.infolist(), archive.start_dir):
        raise _refused(path, f"`{ascii(shared.orig_filename)[1:-1]}` overlaps what follows it")


def _read_manifest(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]
) -> tuple[Manifest, str, int]:
    """As `manifest.read_manifest`."""
    data = []
    for name, most in ((MANIFEST, MOST_MANIFEST), (MANIFEST_HASH, MOST_MANIFEST_HASH)):
        if name not in members:
            raise _refused(path, f"it has no {name}, so it is not a bundle")
        if members[name].file_size > most:
            raise _refused(path, f"its {name} has {members[name].file_size:,} bytes, not {most:,} at most")
        data.append(b"".join(_blocks(path, archive, members[name])))
    try:
        return read_manifest(f"its {MANIFEST}", *data)
    except UserError as error:
        raise _refused(path, error.message.rstrip("."), fix=UPDATE if error.fix == UPDATE else _AGAIN) from error


def _check_against_manifest(packed: BundleZip) -> None:
    """The files are those that the manifest names, no more, no fewer, and as large as it says."""
    path, there = packed.path, set(packed.members)
    named = set(digests_of(packed.manifest, packed.sha256))
    if foreign := sorted(there - named):
        raise _refused(path, f"`{ascii(foreign[0])[1:-1]}` is not in its manifest")
    if missing := sorted(named - there):
        raise _refused(path, f"{missing[0]} is missing")
    sizes = {artifact.file: artifact.bytes for artifact in packed.manifest.all_artifacts}
    for name, info in packed.members.items():
        if info.file_size != sizes.get(name, info.file_size):
            raise _refused(path, f"{name} has {info.file_size:,} bytes; its manifest says {sizes[name]:,}")
        if name not in sizes and info.file_size > MOST_OTHER:
            raise _refused(path, f"{name} has {info.file_size:,} bytes, more than any bundle's ({MOST_OTHER:,})")


def _blocks(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of an entry, inflated piece by piece, so that it fills no memory; BundleError where it is damaged."""
    name, count = info.filename.rpartition("/")[2], 0
    try:
        with archive.open(info) as stream:
            while block := stream.read(_BLOCK):
                count += len(block)
                if count > info.file_size:
                    raise _refused(path, f"{name} is longer than the zip says")
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise _refused(path, f"{name} is damaged ({error})") from error
    if count != info.file_size:
        raise _refused(path, f"{name} ends early")


def _refused(path: Path, why: str, *, fix: str = _AGAIN) -> BundleError:
    return BundleError(f"{path} is refused: {why}.", fix=fix)
