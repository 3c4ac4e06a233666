"""A bundle in an object store: fetched once into the user's cache, and checked by its hashes before it is believed.

    CACHE/lits-deploy/bundles/<hash of the manifest>/       of a folder of objects
    CACHE/lits-deploy/bundles/<version and size>.zip        of a packed one

What a run opens is the copy, whose files are checked again by whoever reads them (`bundle.Bundle.read`).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lits_deploy.bundle import Bundle
from lits_deploy.bundle_zip import MOST_TOTAL
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.files import write_bytes
from lits_deploy.manifest import (
    MANIFEST,
    MANIFEST_HASH,
    MOST_MANIFEST,
    MOST_MANIFEST_HASH,
    MOST_OTHER,
    Manifest,
    read_manifest,
)
from lits_deploy.manifest_check import is_plain_name
from lits_deploy.model_file import MOST_MODEL
from lits_deploy.storage import PathOrUrl, store_at
from lits_deploy.user_cache import user_cache

if TYPE_CHECKING:
    from lits_deploy.storage.s3 import S3Store

FOLDER = "bundles"


def local_bundle(bundle: PathOrUrl) -> Path:
    """Where a bundle lies on this machine, fetched if it has not been.

    Raises BundleError, StorageError, and OutputError for a cache that cannot be written.
    """
    if isinstance(bundle, Path):
        return bundle
    from lits_deploy.storage.s3 import S3Store

    store = store_at(bundle)
    assert isinstance(store, S3Store)
    kind = store.kind()
    if kind is None:
        raise BundleError(f"There is no {store.location}.", fix="check the location of the bundle")
    return _packed(store) if kind == "file" else _folder(store)


def _packed(store: S3Store) -> Path:
    with store.reader() as there:
        size, name = there.size, f"{there.version:016x}-{there.size}.zip"
    if size > MOST_TOTAL:
        raise BundleError(f"{store.location} has {size:,} bytes, more than any bundle.", fix="name a bundle")

    def fetch(temporary: Path) -> None:
        store.get("", temporary)
        _check(Bundle.open_zip(temporary), store)

    return _kept(name, fetch)


def _folder(store: S3Store) -> Path:
    try:
        data, recorded = _bytes(store, MANIFEST, MOST_MANIFEST), _bytes(store, MANIFEST_HASH, MOST_MANIFEST_HASH)
    except FileNotFoundError as error:
        raise BundleError(
            f"{store.location} is not a bundle (it has no {MANIFEST}).",
            fix="name a folder that `export` made, or its zip",
        ) from error
    manifest, digest, _ = read_manifest(f"{MANIFEST} in {store.location}", data, recorded)

    def fetch(temporary: Path) -> None:
        temporary.mkdir()
        write_bytes(temporary / MANIFEST, data)
        write_bytes(temporary / MANIFEST_HASH, recorded)
        for name, most in _files(manifest).items():
            try:
                with store.reader(name) as there:
                    _check_size(store, name, there.size, most)
                store.get(name, temporary / name)
            except FileNotFoundError as error:
                raise BundleError(f"{name} is missing from {store.location}.", fix="upload the bundle again") from error
        _check(Bundle.open(temporary), store)

    return _kept(digest, fetch)


def _files(manifest: Manifest) -> dict[str, int]:
    """The files of a bundle, less its manifest, and the most bytes of each."""
    found = {
        **dict.fromkeys(manifest.all_files, MOST_OTHER),
        **{one.file: MOST_MODEL for one in manifest.all_artifacts},
    }
    if odd := next((name for name in found if not is_plain_name(name)), None):
        raise BundleError(f"The manifest names `{odd}`, which is no plain name.", fix="export the bundle again")
    return found


def _bytes(store: S3Store, name: str, most: int) -> bytes:
    with store.reader(name) as there:
        _check_size(store, name, there.size, most)
        return there.readall()


def _check_size(store: S3Store, name: str, size: int, most: int) -> None:
    if size > most:
        raise BundleError(f"{name} in {store.location} has {size:,} bytes, {most:,} at most.", fix="name a bundle")


def _check(bundle: Bundle, store: S3Store) -> None:
    if problems := bundle.problems():
        raise BundleError(f"{store.location} is no whole bundle: {problems[0]}", fix="upload the bundle again")


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """The cache's file or folder of that name, fetched beside it first if it is not there."""
    cache = user_cache()
    if cache is None:
        raise OutputError("There is no folder for bundles that are fetched.", fix="export XDG_CACHE_HOME=FOLDER")
    target = cache / FOLDER / name
    if target.exists():
        return target
    temporary = target.with_name(f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(temporary)
        if temporary.is_dir():
            if not target.exists():
                os.replace(temporary, target)  # noqa: PTH105
        else:
            temporary.replace(target)
    except OSError as error:
        if target.exists():  # another process was faster
            return target
        raise OutputError(
            f"{target.parent} cannot be written ({error.strerror}).", fix="make room, or export XDG_CACHE_HOME=FOLDER"
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
    return target
