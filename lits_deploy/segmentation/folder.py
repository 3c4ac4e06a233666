"""The folder of masks: written beside the one that is there and put in its place, so that it is of one run, and whole.

OUT/masks/  png/…  nifti/…  dicom-seg/…  .lits-deploy    the last one marks it as ours; another folder of that name
                                                         is never touched
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lits_deploy import private
from lits_deploy.errors import OutputError
from lits_deploy.pipeline.output import MASKS, MASKS_MARK
from lits_deploy.segmentation.names import other_name


class MaskFolder:
    """A new folder of masks. Use as a context manager: it takes the place of the old one if the block ends well.

    Raises OutputError where OUT cannot be written, or holds a folder `masks` that is not ours.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / MASKS
        self._access = private.current() or private.OWNER
        self._new = out / f".{MASKS}.{os.getpid()}.tmp"
        self._old = out / f".{MASKS}.{os.getpid()}.old.tmp"

    def __enter__(self) -> MaskFolder:
        check_ours(self.folder)
        try:
            self._new.mkdir(mode=0o700)
            private.set_mode(self._new, self._access.folder)
            self._put(self._new / MASKS_MARK, b"")
        except OSError as error:
            shutil.rmtree(self._new, ignore_errors=True)
            raise self._failed(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self._new, ignore_errors=True)
            return
        try:
            if self.folder.exists():
                self.folder.rename(self._old)
            self._new.rename(self.folder)
        except OSError as failed:
            raise self._failed(failed) from failed
        shutil.rmtree(self._old, ignore_errors=True)

    def write(self, name: str, path: str, suffix: str, data: bytes) -> str:
        """Write a mask under a name (`names.mask_name` of path and suffix) below the folder; its name in OUT."""
        for chosen in (name, other_name(name, path, suffix)):
            target = self._new / chosen
            try:
                private.make_folder(target.parent, self._access)
                self._put(target, data)
            except FileExistsError:  # a file system that takes A.png and a.png for one
                continue
            except OSError as error:
                raise self._failed(error) from error
            return f"{MASKS}/{chosen}"
        raise OutputError(f"{self.folder} cannot hold two masks of nearly one name.", fix="--out on another disk")

    def _put(self, target: Path, data: bytes) -> None:
        with os.fdopen(private.create(target), "wb") as stream:
            private.set_mode(stream.fileno(), self._access.file)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def _failed(self, error: OSError) -> OutputError:
        why = os.strerror(error.errno).lower() if error.errno else type(error).__name__
        return OutputError(f"{self.folder} cannot be written ({why}).", fix="make room, and run the same command again")


def check_ours(folder: Path) -> None:
    """Raise OutputError for a folder of masks that this tool did not write."""
    if folder.exists() and not (folder / MASKS_MARK).exists():
        raise OutputError(f"{folder} is there, and not from lits-deploy.", fix="--out elsewhere")
