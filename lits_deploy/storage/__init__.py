"""Where files lie: folders of this machine, and objects of an S3 store, behind one small interface.

    store_at     a location as users type it → its `Store` (`base`): `local`, or `s3` through pyarrow
    location     what a text names: a path, `file:///…`, `s3://bucket/…`

Credentials are found as the AWS libraries find them (environment, profile, role) and are never read here.
"""

from __future__ import annotations

from lits_deploy.storage.base import FolderEntry, Stat, Store
from lits_deploy.storage.location import SCHEME, PathOrUrl, location_of, path_or_url

__all__ = ["SCHEME", "FolderEntry", "PathOrUrl", "Stat", "Store", "location_of", "path_or_url", "store_at"]


def store_at(location: str, endpoint: str | None = None) -> Store:
    """The store at a location; touches nothing yet.

    endpoint: URL of an object store that is not Amazon's; None: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, if set.
    Raises UserError for another scheme, StorageError where pyarrow cannot read object stores.
    """
    where = location_of(location)
    if where.path is not None:
        from lits_deploy.storage.local import LocalStore

        return LocalStore(where.path)
    from lits_deploy.storage.s3 import S3Store

    return S3Store(where, endpoint)
