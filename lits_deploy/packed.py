"""Reading a packed bundle that comes from a stranger: refused before anything is written, if anything is odd.

None of a zip file's numbers is believed. Its names must be those of the manifest inside, plain, in one folder; sizes
must fit the manifest; what is inflated is counted as it comes. Backslashes in place of slashes and what file managers
put beside a bundle (`__MACOSX`, `Thumbs.db`), as Windows and macOS zip, are no fault. `open_bundle` takes such a file
where a folder is taken; `lits_deploy.packing` writes and unpacks them.
"""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lits_deploy.bundle import (
    LITTER,
    MANIFEST,
    MANIFEST_HASH,
    MOST_MANIFEST,
    MOST_OTHER,
    Bundle,
    Manifest,
    altered,
    is_litter,
    tell_litter,
)
from lits_deploy.errors import BundleError, UserError
from lits_deploy.files import sha256_bytes
from lits_deploy.manifest_check import is_plain_name, parse_manifest
from lits_deploy.manifest_history import UPDATE
from lits_deploy.model_file import ModelFile

MOST_MEMBERS = 256
"""Files in a zip: a bundle has five, and two more an artifact at most."""

MOST_TOTAL = 16 << 30
"""Bytes of all files: VGG16 in three precisions takes 1 GB."""

MOST_RATIO = 100
"""Largest size over packed size of a file above 1 MiB: weights reach 1.1, a bomb 1,000."""

_BLOCK = 1 << 20
_AGAIN = "get the file again from whoever packed it"


@dataclass(frozen=True)
class Packed:
    """A zip file whose table of contents is that of a bundle. `bundle.folder` is the zip file: open nothing by it.

    top: name of the folder inside; members: file name → entry.
    """

    archive: zipfile.ZipFile
    bundle: Bundle
    top: str
    members: dict[str, zipfile.ZipInfo]

    def digests(self) -> dict[str, str]:
        """SHA-256 that the manifest, or the format, asks of each file."""
        return self.bundle.digests()

    def problems(self) -> list[str]:
        """One line for every file whose content is not what the manifest says. Empty for a whole bundle."""
        found, models = [], {artifact.file for artifact in self.bundle.manifest.artifacts}
        for name, digest in sorted(self.digests().items()):
            try:
                actual, kept = hashlib.sha256(), []
                for block in self.read(name):
                    actual.update(block)
                    if name in models:
                        kept.append(block)
                if name in models and actual.hexdigest() == digest:
                    ModelFile(name, b"".join(kept))
            except BundleError as error:
                found.append(error.message)
                continue
            if actual.hexdigest() != digest:
                found.append(f"{name} was altered: its hash differs.")
        return found

    def read(self, name: str) -> Iterator[bytes]:
        """The content of a file in pieces; BundleError where it is damaged or longer than the zip says."""
        return _blocks(self.bundle.folder, self.archive, self.members[name])


@dataclass(frozen=True)
class PackedBundle(Bundle):
    """A bundle that stays in its zip file, `folder`; the file is open as long as this is."""

    packed: Packed
    opened: ExitStack

    def blocks(self, name: str) -> Iterator[bytes]:
        """As `Bundle.blocks`."""
        digest = hashlib.sha256()
        for block in self.packed.read(name):
            digest.update(block)
            yield block
        if digest.hexdigest() != self.digests()[name]:
            raise altered(name)

    def _read(self, name: str, digest: str, most: int) -> bytes:
        if (size := self.packed.members[name].file_size) > most:
            raise refused(self.folder, f"{name} has {size:,} bytes, not {most:,} at most")
        data = b"".join(self.packed.read(name))
        if sha256_bytes(data) != digest:
            raise altered(name)
        return data


def open_bundle(path: Path) -> Bundle:
    """The bundle in a folder or in a zip file. Raises BundleError as `Bundle.open` and `open_packed` do."""
    if not path.is_file():
        return Bundle.open(path)
    with ExitStack() as stack:
        packed = stack.enter_context(open_packed(path))
        inside = packed.bundle
        return PackedBundle(
            inside.folder, inside.manifest, inside.sha256, packed, stack.pop_all(), schema=inside.schema
        )


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


@contextmanager
def open_packed(path: Path) -> Iterator[Packed]:
    """Open a zip file that `pack` made, its table of contents and manifest checked, no file but the manifest read.

    Raises BundleError, naming the fault, for anything else: it escapes its folder, holds what its manifest does not
    name, is encrypted, a bomb, or damaged.
    """
    if not path.is_file():
        what = "is a folder, not a zip file" if path.is_dir() else "does not exist"
        raise BundleError(f"{path} {what}.", fix="name a file that `lits-deploy bundle pack` made")
    try:
        archive = zipfile.ZipFile(path)
    except PermissionError as error:
        raise BundleError(f"{path} may not be read.", fix=f"chmod +r {path}") from error
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BundleError(f"{path} is not a whole zip file ({error}).", fix=_AGAIN) from error
    with archive:
        # A zip cut short can end in golden.npz, a zip itself: its entries then start after foreign bytes.
        if min((info.header_offset for info in archive.infolist()), default=0):
            raise BundleError(f"{path} is not a whole zip file (it does not begin with its first entry).", fix=_AGAIN)
        top, members = _members(path, archive)
        _check_sizes(path, archive, members)
        packed = Packed(archive, _read_manifest(path, archive, top, members), top, members)
        _check_against_manifest(packed)
        yield packed


def _members(path: Path, archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """Name of the one folder at the top, and the plain files in it by name."""
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        raise refused(path, f"it holds {len(entries):,} entries, more than any bundle ({MOST_MEMBERS})")
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
            raise refused(path, f"the entry `{shown}` leads out of its folder")
        folder = name.endswith("/")
        plain = parts[:-1] if folder else parts
        if plain and (plain[0] in LITTER or is_litter(plain[-1])):
            litter.add(plain[0] if plain[0] in LITTER else plain[-1])
            continue
        if not all(is_plain_name(part) for part in plain):
            raise refused(path, f"the entry `{shown}` has no plain name")
        mode = info.external_attr >> 16
        if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
            raise refused(path, f"the entry `{shown}` is a link or a device, not a file")
        if info.flag_bits & 0x1:
            raise refused(path, f"the entry `{shown}` is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refused(path, f"the entry `{shown}` is packed by method {info.compress_type}")
        tops.add(plain[0])
        if len(plain) != (1 if folder else 2):
            where = "at its top" if len(plain) == 1 else "in a folder below"
            raise refused(path, f"`{shown}` lies {where}, not in the bundle's one folder")
        key = unicodedata.normalize("NFC", "/".join(plain)).casefold()
        if key in seen:
            what = "comes twice" if seen[key] == name else f"differs from `{ascii(seen[key])[1:-1]}` by case only"
            raise refused(path, f"`{shown}` {what}")
        seen[key] = name
        if folder and info.file_size:
            raise refused(path, f"the folder `{shown}` has content")
        if not folder:
            members[plain[1]] = info
    if litter:
        tell_litter(path, litter)
    if len(tops) != 1:
        raise refused(path, "it is empty" if not tops else f"it has {len(tops)} folders at its top, not one")
    return tops.pop(), members


def _check_sizes(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in members.values())
    if total > MOST_TOTAL:
        raise refused(path, f"it would unpack to {total:,} bytes, more than any bundle ({MOST_TOTAL:,})")
    for name, info in members.items():
        growth = info.file_size // max(1, info.compress_size)
        if info.file_size > 1 << 20 and growth > MOST_RATIO:
            raise refused(path, f"{name} would grow {growth:,}-fold, as bombs do")
        if info.compress_size > info.file_size + info.file_size // 64 + 1024:
            raise refused(path, f"{name} takes more room packed than the size it declares")
    ordered = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered[1:]), archive.start_dir]
    for info, end in zip(ordered, ends, strict=True):
        raw = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437", errors="replace")
        if info.header_offset + 30 + len(raw) + info.compress_size > end:  # 30: a header without its name
            raise refused(path, f"`{ascii(info.orig_filename)[1:-1]}` overlaps what follows it")


def _read_manifest(path: Path, archive: zipfile.ZipFile, top: str, members: dict[str, zipfile.ZipInfo]) -> Bundle:
    """The bundle's identity and manifest, by the rules of `Bundle.open`."""
    data = {}
    for name, most in ((MANIFEST, MOST_MANIFEST), (MANIFEST_HASH, 1024)):
        if name not in members:
            raise refused(path, f"it has no {name}, so it is not a bundle")
        if members[name].file_size > most:
            raise refused(path, f"its {name} has {members[name].file_size:,} bytes, not {most:,} at most")
        data[name] = b"".join(_blocks(path, archive, members[name]))
    digest = sha256_bytes(data[MANIFEST])
    if data[MANIFEST_HASH] != f"{digest}  {MANIFEST}\n".encode():
        raise refused(path, f"its {MANIFEST} was altered: it does not match {MANIFEST_HASH}")
    try:
        values = parse_manifest(data[MANIFEST])
        manifest = Manifest.from_json(values)
    except UserError as error:
        raise refused(path, error.message.rstrip("."), fix=UPDATE if error.fix == UPDATE else _AGAIN) from error
    return Bundle(folder=path, manifest=manifest, sha256=digest, schema=values["schema"])


def _check_against_manifest(packed: Packed) -> None:
    """The files are those that the manifest names, no more, no fewer, and as large as it says."""
    path, there, named = packed.bundle.folder, set(packed.members), set(packed.digests())
    if foreign := sorted(there - named):
        raise refused(path, f"`{ascii(foreign[0])[1:-1]}` is not in its manifest")
    if missing := sorted(named - there):
        raise refused(path, f"{missing[0]} is missing")
    sizes = {artifact.file: artifact.bytes for artifact in packed.bundle.manifest.artifacts}
    for name, info in packed.members.items():
        if info.file_size != sizes.get(name, info.file_size):
            raise refused(path, f"{name} has {info.file_size:,} bytes; its manifest says {sizes[name]:,}")
        if name not in sizes and info.file_size > MOST_OTHER:
            raise refused(path, f"{name} has {info.file_size:,} bytes, more than any bundle's ({MOST_OTHER:,})")


def _blocks(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of an entry, inflated piece by piece, so that it fills no memory; BundleError where it is damaged."""
    name, count = info.filename.rpartition("/")[2], 0
    try:
        with archive.open(info) as stream:
            while block := stream.read(_BLOCK):
                count += len(block)
                if count > info.file_size:
                    raise refused(path, f"{name} is longer than the zip says")
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise refused(path, f"{name} is damaged ({error})") from error
    if count != info.file_size:
        raise refused(path, f"{name} ends early")


def refused(path: Path, why: str, *, fix: str = _AGAIN) -> BundleError:
    """The error for a zip file that is not used, and why."""
    return BundleError(f"{path} is refused: {why}.", fix=fix)
