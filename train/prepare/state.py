"""The output folder of a preparation: who may write there, and what an unfinished one has done already.

    OUT/.prepare-unfinished/settings.json    what was asked for
    OUT/.prepare-unfinished/volume-N.json    the record of a patient whose slices are all written, or that failed
    OUT/provenance.json                      settings and all records, one line a patient
    OUT/dataset.json                         last: a folder with it is whole

A finished folder can be taken up as well, to add patients or to try failed ones again: provenance.json holds what the
unfinished folder held. Knows nothing about pixels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER, __version__
from lits_deploy.errors import OutputError
from lits_deploy.files import atomic_path, canonical_json, write_json
from train.data.slices import drop_leftovers
from train.prepare.patients import key_of
from train.prepare.settings import PrepareSettings

UNFINISHED, DATASET, PROVENANCE = ".prepare-unfinished", "dataset.json", "provenance.json"
SCHEMA = 1


class State:
    """An output folder that this preparation owns. `records`: what was done before, by patient and scan."""

    def __init__(self, out: Path, settings: PrepareSettings) -> None:
        self.out, self.folder, self._settings = out, out / UNFINISHED, settings
        self.records: dict[tuple[str, str], dict[str, Any]] = {}

    @classmethod
    def open(cls, out: Path, settings: PrepareSettings, *, resume: bool) -> State:
        """Take an absent, empty, unfinished or, to resume, finished folder. Raises OutputError for any other."""
        state = cls(out, settings)
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out} is a file.", fix="name a folder")
        if (out / UNFINISHED).is_dir():
            state._take_unfinished(resume)
        elif out.is_dir() and any(out.iterdir()):
            state._take_finished(resume)
        state.folder.mkdir(parents=True, exist_ok=True)
        (out / DATASET).unlink(missing_ok=True)
        if not (state.folder / "settings.json").is_file():
            write_json(state.folder / "settings.json", settings.to_json())
        return state

    def record_path(self, number: int) -> Path:
        """Where a scan's record goes."""
        return self.folder / f"volume-{number:03d}.json"

    def finish(self, records: Sequence[dict[str, Any]], dataset: dict[str, Any], notes: Sequence[str]) -> None:
        """Write provenance.json, then dataset.json; the folder is whole from then on."""
        with atomic_path(self.out / PROVENANCE) as temporary, temporary.open("w", encoding="utf-8") as stream:
            head = {
                "schema": SCHEMA,
                "settings": self._settings.to_json(),
                "disclaimer": DISCLAIMER,
                "made_with": f"lits-deploy {__version__}",
                "notes": list(notes),
            }
            stream.write('{"head":' + canonical_json(head))
            stream.write(',\n"columns":' + canonical_json(COLUMNS) + ',\n"volumes":[')
            for index, record in enumerate(records):
                stream.write(("\n" if index == 0 else ",\n") + canonical_json(record))
            stream.write("\n]}\n")
        write_json(self.out / DATASET, dataset)
        shutil.rmtree(self.folder)

    def _take_unfinished(self, resume: bool) -> None:
        if not resume:  # from the beginning
            drop_leftovers(self.out, set())
            shutil.rmtree(self.folder)
            return
        settings = _read(self.folder / "settings.json")
        if settings is not None:
            self._same(settings)
            self._remember(filter(None, map(_read, sorted(self.folder.glob("volume-*.json")))))

    def _take_finished(self, resume: bool) -> None:
        before = _read(self.out / PROVENANCE)
        if before is None or "head" not in before or not (self.out / DATASET).is_file():
            raise OutputError(
                f"{self.out} is not empty and holds no unfinished preparation.", fix="name a new or empty folder"
            )
        if not resume:
            raise OutputError(
                f"{self.out} holds a prepared data set.",
                fix="name a new folder, or add new and failed volumes with --resume",
            )
        self._same(before["head"]["settings"])
        self._remember(before["volumes"])
        self.folder.mkdir()
        for record in self.records.values():
            write_json(self.record_path(record["number"]), record)

    def _remember(self, records: Any) -> None:
        self.records = {key_of(record): record for record in records}

    def _same(self, before: dict[str, Any]) -> None:
        now = self._settings.to_json()
        if changed := [name for name in now if before.get(name) != now[name]]:
            was = ", ".join(f"{name} {before.get(name)}, not {now[name]}" for name in changed)
            raise OutputError(
                f"{self.out} was begun with other settings: {was}.", fix="repeat them, or name another folder"
            )


COLUMNS = {
    "patient, scan": "names in the source",
    "number": "of the scan, in file names; patient_number: of the patient's first scan",
    "files": "of volumes: [path, SHA-256] of volume and segmentation; of pictures, one entry a slice: [path of the "
    "image, SHA-256 of the image, SHA-256 of each mask]",
    "slices.number": "number in the file name volume-NUMBER_SLICE",
    "slices.index": "index in the volume's array along the body, or in files",
    "slices.class": "largest label of the prepared mask",
    "slices.split": "of all slices, or one a slice",
    "orientation.basis": "what the display was derived from",
    "orientation.pixels": "how the slices lie then, by the pixels",
    "orientation.turned": "how they lay if they were turned upright",
}


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no whole one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
