"""A bundle as one zip file, and back: the same hashes inside.

    NAME.zip  ──►  NAME/manifest.json  NAME/manifest.sha256  NAME/model.onnx …

`pack` writes equal bytes for equal bundles of one name: sorted names, one date, one mode, nothing compressed. Weights
hardly shrink (ResNet18: 44.9 MB stored in 0.2 s, 41.3 MB deflated in 2.1 s), and zlib's bytes differ from build to
build. What may be unpacked is decided in `lits_deploy.bundle_zip`. Knows nothing about networks or runtimes.
"""

from __future__ import annotations

import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lits_deploy.bundle import MANIFEST, MANIFEST_HASH, Bundle
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.files import atomic_path

_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can say


def pack(folder: Path, out: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a bundle as one zip file and return its path; it appears whole or not at all.

    out: the file [the bundle's name + .zip, here]. Raises BundleError where the bundle has a problem, OutputError where
    `out` exists or lies inside the bundle.
    """
    if folder.is_file():
        raise BundleError(f"{folder} is a file, not a bundle's folder.", fix="name the folder; a zip is packed already")
    bundle = Bundle.open(folder)
    if problems := bundle.problems():
        raise BundleError(
            f"{folder} is not whole, so it is not packed: {problems[0]}"
            + (f" And {len(problems) - 1} more." if len(problems) > 1 else ""),
            fix=f"`lits-deploy bundle inspect {folder}` lists all; take foreign files out, or copy the bundle again",
        )
    # A name that every system can hold and `unpack` takes.
    top = re.sub(r"[^\w.+ -]", "-", folder.resolve().name).rstrip(". ").lstrip(". -") or "bundle"
    target = Path(f"{top}.zip") if out is None else out
    if bundle.folder.resolve() in target.resolve().parents:
        raise OutputError(f"{target} would lie inside the bundle.", fix=f"--out ../{target.name}")
    if target.is_dir():
        raise OutputError(f"{target} is a folder.", fix=f"--out {target / f'{top}.zip'}")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already.", fix="give another --out, or --overwrite")
    try:
        with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(bundle.digests()):
                info = zipfile.ZipInfo(f"{top}/{name}", _DATE)
                info.create_system = 3  # Unix, wherever it is packed
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.file_size = (bundle.folder / name).stat().st_size
                with archive.open(info, "w") as packed:
                    packed.writelines(bundle.blocks(name))
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
    return target


def unpack(path: Path, out: Path | None = None, *, overwrite: bool = False) -> Bundle:
    """Make a bundle of a zip file; the folder appears in one rename, after every hash matched.

    out: the bundle's folder [its name in the zip, here]. Raises BundleError for whatever is no packed bundle, and
    OutputError where `out` exists; `overwrite` replaces a bundle and nothing else. A refusal leaves nothing behind.
    """
    bundle = Bundle.open_zip(path)
    packed = bundle.packed
    assert packed is not None
    target = Path(packed.top) if out is None else out
    check_free(target, overwrite=overwrite)
    total = sum(info.file_size for info in packed.members.values())
    try:
        with workplace(target, total) as folder:
            copy_files(bundle, packed.members, folder)
            for file in folder.iterdir():
                file.chmod(0o644)
            if problems := Bundle.open(folder).problems():  # what was written, read back
                raise BundleError(f"What was unpacked is not whole: {problems[0]}", fix="unpack again on another disk")
            replace_bundle(target, folder)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
    return Bundle.open(target)


def check_free(target: Path, *, overwrite: bool) -> None:
    """OutputError where something lies at `target`, unless it is a bundle that is to be overwritten."""
    if target.is_symlink() or target.exists():
        if not overwrite:
            raise OutputError(f"{target} exists already.", fix="give another --out, or --overwrite")
        if not _may_go(target):
            raise OutputError(f"{target} is not a bundle, so it is not overwritten.", fix="give another --out")


def copy_files(bundle: Bundle, names: Iterable[str], folder: Path) -> None:
    """Write files of a bundle to a folder. Raises BundleError where a hash differs, OSError."""
    for name in names:
        with (folder / name).open("xb") as stream:
            stream.writelines(bundle.blocks(name))


@contextmanager
def workplace(target: Path, total: int) -> Iterator[Path]:
    """A temporary folder beside `target`; it goes at the end, and so do folders made for it that stayed empty."""
    made = [folder for folder in target.parents if not folder.exists()]  # deepest first
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        room = shutil.disk_usage(target.parent).free
        if total > room:
            raise OutputError(
                f"{target} needs {total:,} bytes; {room:,} are free.", fix="make room, or --out elsewhere"
            )
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            folder.chmod(0o755)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        with suppress(OSError):
            for empty in made:
                empty.rmdir()


def _may_go(target: Path) -> bool:
    """True for a bundle, whole or not, and for an empty folder: a bundle is flat and has both files of its manifest."""
    if target.is_symlink() or not target.is_dir():
        return False
    entries = {path.name: path.is_dir() for path in target.iterdir()}
    return not entries or ({MANIFEST, MANIFEST_HASH} <= set(entries) and not any(entries.values()))


def replace_bundle(target: Path, folder: Path) -> None:
    """Move `folder` to `target`; a bundle that was there goes when the new one is in its place, or comes back."""
    if not target.exists():
        folder.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.replace(old)
    try:
        folder.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old)
