"""What lies in a folder of scans: studies, series, how their slices follow each other, and what would be excluded.

Records of what headers tell: who reads them brings them here (`pipeline.survey`), and `lits_deploy.series` decides what
belongs together and in which order.
Names no patient: studies and series have numbers, in the order of their paths, unless the user asks to identify.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lits_deploy.scans import SeriesHeader
from lits_deploy.series import Arranged, SliceFacts, SliceHeader, arrange


class SurveyedSlice(NamedTuple):
    """A slice of a file: its place there, where it lies, why it is excluded (None: it is not), and its checksum."""

    idx: int
    header: SliceHeader
    reason: str | None = None
    pixels: int | None = None


@dataclass(frozen=True, kw_only=True)
class SeriesSurvey:
    """A series, or one volume of it where there are several. series: what its first file says, at `path`; excluded,
    failed: reason → how many slices (copies not counted), and files."""

    series: SeriesHeader
    path: str
    volume: Arranged
    files: int
    excluded: Counter[str]
    failed: Counter[str]

    @property
    def order(self) -> str:
        """What gave the order of its slices; of a picture all that is known is its name."""
        if self.volume.by != "instance number":
            return self.volume.by
        return {"picture": "name", "nifti": "index"}.get(self.series.kind, self.volume.by)

    def to_json(self, *, identify: bool = False) -> dict[str, Any]:
        """Plain values; nothing that names a patient, unless asked."""
        series, geometry, steps = self.series, self.volume.geometry, self.volume.steps
        document: dict[str, Any] = {
            "part": self.volume.name,
            "kind": series.kind,
            "modality": series.modality,
            "orientation": series.orientation,
            "reorientation": geometry.reorientation,
            "rows": geometry.rows or None,
            "columns": geometry.columns or None,
            "spacing_mm": None if geometry.spacing_mm is None else list(geometry.spacing_mm),
            "files": self.files,
            "slices": len(self.volume.slices),
            "copies": len(self.volume.copies),
            "order": self.order,
            "step_mm": steps.step_mm,
            "extent_mm": steps.extent_mm,
            "missing": steps.missing,
            "repeated": steps.repeated,
            "irregular": steps.irregular,
            "doubts": list(self.volume.doubts),
            "excluded": dict(self.excluded.most_common()),
            "failed": dict(self.failed.most_common()),
        }
        if identify:
            document |= {"path": self.path, "identifiers": dict(series.identifiers)}
        return document


@dataclass
class _Files:
    """The files of one series UID (or folder): of each slice, or failed file, its facts, why not, and its header."""

    facts: list[SliceFacts] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    series: list[SeriesHeader] = field(default_factory=list)

    def volumes(self) -> Iterator[SeriesSurvey]:
        for volume in arrange(self.facts, by_folder=self.series[0].by_folder):
            members = [*volume.slices, *volume.copies, *volume.failed]
            first = min(members, key=lambda i: (self.facts[i].path, self.facts[i].index))
            yield SeriesSurvey(
                series=self.series[first],
                path=self.facts[first].path,
                volume=volume,
                files=len({self.facts[i].path for i in members}),
                excluded=Counter(reason for i in volume.slices if (reason := self.reasons[i]) is not None),
                failed=Counter(self.reasons[i] or "" for i in volume.failed),
            )


class Survey:
    """Collects the headers of files, one after the other and in any order. others: files that are no scans."""

    def __init__(self) -> None:
        self._series: defaultdict[tuple[str, str], _Files] = defaultdict(_Files)
        self._studies: list[list[SeriesSurvey]] | None = None
        self.files = 0
        self.failed: Counter[str] = Counter()
        self.failed_paths: dict[str, list[str]] = {}
        self.others: Counter[str] = Counter()

    def add(
        self,
        path: str,
        series: SeriesHeader | None,
        slices: Sequence[SurveyedSlice] = (),
        failure: str | None = None,
        content: str | None = None,
    ) -> None:
        """A file: its series, with study and series named, and its slices, or why it failed. content: its hash."""
        self.files += 1
        self._studies = None
        if failure is not None:
            self.failed[failure] += 1
            self.failed_paths.setdefault(failure, []).append(path)
        if series is None:
            return
        own = self._series[series.study, series.series]
        if own.series and own.series[-1] == series:
            series = own.series[-1]  # one record for many files
        seen = [SurveyedSlice(0, SliceHeader(), failure)] if failure is not None else slices
        for index, header, reason, pixels in seen:
            own.facts.append(
                SliceFacts(
                    path=path,
                    index=index,
                    patient=series.patient,
                    geometry=series.geometry,
                    header=header if failure is None else None,
                    content=content,
                    pixels=pixels,
                )
            )
            own.reasons.append(reason)
            own.series.append(series)

    def studies(self) -> list[list[SeriesSurvey]]:
        """The series of each study, studies and series in the order of their first paths; a study of two patients is
        two."""
        if self._studies is None:
            self._studies = self._arranged()
        return self._studies

    def _arranged(self) -> list[list[SeriesSurvey]]:
        by_study: defaultdict[str, list[list[SeriesSurvey]]] = defaultdict(list)
        for (study, _), own in self._series.items():
            by_study[study].append(list(own.volumes()))
        found: list[list[SeriesSurvey]] = []
        for series in by_study.values():
            series.sort(key=lambda volumes: min(one.path for one in volumes))
            volumes = [one for several in series for one in several]
            patients = {one.volume.patient for one in volumes if one.volume.patient}
            of: defaultdict[str, list[SeriesSurvey]] = defaultdict(list)
            for one in volumes:
                of[one.volume.patient if len(patients) > 1 else ""].append(one)
            found += of.values()
        return sorted(found, key=lambda study: min(one.path for one in study))

    def _all(self) -> Iterator[SeriesSurvey]:
        return (one for study in self.studies() for one in study)

    @property
    def slices(self) -> int:
        """In all series, each counted once."""
        return sum(len(one.volume.slices) for one in self._all())

    @property
    def copies(self) -> int:
        """Slices that are another one once more."""
        return sum(len(one.volume.copies) for one in self._all())

    @property
    def excluded(self) -> Counter[str]:
        """Reason → slices, in all series."""
        return sum((one.excluded for one in self._all()), Counter())

    def to_json(self, *, identify: bool = False) -> dict[str, Any]:
        """Plain values; nothing that names a patient or a file, unless asked."""
        document: dict[str, Any] = {
            "files": self.files,
            "slices": self.slices,
            "copies": self.copies,
            "studies": [
                {
                    "study": number,
                    "series": [
                        {"series": f"{number}.{rank}", **one.to_json(identify=identify)}
                        for rank, one in enumerate(study, start=1)
                    ],
                }
                for number, study in enumerate(self.studies(), start=1)
            ],
            "excluded": dict(sorted(self.excluded.items(), key=lambda item: (-item[1], item[0]))),
            "failed": dict(sorted(self.failed.items(), key=lambda item: (-item[1], item[0]))),
            "others": dict(self.others.most_common()),
        }
        if identify:
            document["failed_paths"] = {reason: sorted(paths) for reason, paths in sorted(self.failed_paths.items())}
        return document
