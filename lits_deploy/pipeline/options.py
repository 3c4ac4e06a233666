"""What a run is asked for, and what it reports: plain records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.contract import InputContract
from lits_deploy.decode.settings import DecodeSettings
from lits_deploy.errors import UserError
from lits_deploy.runtime import RuntimeOptions
from lits_deploy.scans import READING, Reading
from lits_deploy.scans.containment import Within
from lits_deploy.scans.discover import UNFINISHED
from lits_deploy.scans.listing import Listing
from lits_deploy.scans.roots import list_scans
from lits_deploy.storage import PathOrUrl
from lits_deploy.tables import check_formats

PATHS = ("salt_file", "ledger", "engine_cache")


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """How to classify. What changes results (artifact, runtime, device, abstain, operating_point) is part of the run's
    identity.

    runtime, device, artifact, threads, engine_cache: as in `runtime.open_runtime`; artifact None takes the first.
    precision: in place of artifact, takes the one of that precision that is placed for the runtime.
    batch_size, workers: None chooses for this machine (`pipeline.defaults`, `decode.settings`); what an earlier tuning
    of this artifact on this box found comes first (`pipeline.autotune`). tune: measure that now, and remember it.
    formats: of result tables, out of csv, parquet, jsonl. ledger: its folder, where `out` lies on a network disk.
    abstain: give no class to a slice that the artifact's threshold calls unsure.
    operating_point: rule by which class 2 is given (`operating_point`), in place of the artifact's own.
    identify: write patients and UIDs in clear; pseudonymous: write keyed hashes of paths and files; salt: of all hashes
    (`pseudonyms`), as a text, its bytes or, in salt_file, a file that holds it; neither: the output folder's own.
    group_readable: whether the files' group may read the results; None: as it was, at first not.
    allow_removed: go on where scans with results seem to be gone (`pipeline.removed`).
    ignore: patterns of paths whose failures are acknowledged (`pipeline.ignored`), kept in the output folder;
    ignore_none: drop those that are kept there first. follow_links: read links that lead out of the named folders, too.
    time_limit_s, memory_limit_mib: what decoding one file may take; the memory on a CPU bounds the network, too
    (`runtime.memory`). retry_failed: try failed files again that have not
    changed. reading: what is decided of headers that leave room for doubt; part of the run's identity, too.
    overwrite: drop the results of another run from the output folder. PATHS may be given as str.
    """

    runtime: str = "auto"
    device: str = "auto"
    artifact: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    threads: int = 0
    tune: bool = False
    recursive: bool = True
    formats: tuple[str, ...] = ("csv",)
    overwrite: bool = False
    retry_failed: bool = False
    abstain: bool = True
    operating_point: str | None = None
    identify: bool = False
    pseudonymous: bool = False
    salt: str | bytes | None = None
    salt_file: Path | None = None
    group_readable: bool | None = None
    follow_links: bool = False
    allow_removed: bool = False
    ignore: tuple[str, ...] = ()
    ignore_none: bool = False
    time_limit_s: float = 30.0
    memory_limit_mib: int = 1024
    reading: Reading = READING
    ledger: Path | None = None
    engine_cache: Path | None = None

    def __post_init__(self) -> None:
        for name in PATHS:
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(path))
        check_formats(self.formats)
        for name, value in (("batch size", self.batch_size), ("number of workers", self.workers)):
            if value is not None and value < 1:
                raise UserError(f"A {name} of {value} does not work.", fix="use 1 or more")
        if self.artifact is not None and self.precision is not None:
            raise UserError("An artifact and a precision name the same thing.", fix="give one of them")
        if self.salt is not None and self.salt_file is not None:
            raise UserError("A salt and a salt file name the same thing.", fix="give one of them; a file hides it")
        if self.threads < 0:
            raise UserError(f"{self.threads} threads do not work.", fix="use 0 (every core) or more")
        if self.time_limit_s <= 0 or self.memory_limit_mib < 1:
            raise UserError("A file needs time and memory to be decoded.", fix="raise the limit of time, or of memory")

    def listing(
        self, roots: Sequence[PathOrUrl], out: PathOrUrl | None = None, *, only: Collection[str] | None = None
    ) -> Listing:
        """The scans below `roots`, less what lies in `out`.

        only: names of the files and folders directly below the one root that are looked at, less what is still being
        copied there. Raises UserError for what cannot be listed.
        """
        return list_scans(
            roots,
            recursive=self.recursive,
            skip=[one for one in (out, self.ledger) if one is not None],
            only=only,
            unfinished=() if only is None else UNFINISHED,
            follow_links=self.follow_links,
            hidden=self.pseudonymous,
        )

    def runtime_options(self, *, insist: bool = False, lanes: int = 1) -> RuntimeOptions:
        """What a network may take here. Arguments as in RuntimeOptions."""
        return RuntimeOptions(
            threads=self.threads,
            lanes=lanes,
            memory_limit_mib=self.memory_limit_mib,
            insist=insist,
            engine_cache=self.engine_cache,
        )

    def decoding(self, contract: InputContract, within: Within, **more: Any) -> DecodeSettings:
        """How to decode slices of that contract. within: where files have to lie; more: as in Settings."""
        return DecodeSettings(
            contract=contract,
            workers=self.workers,
            time_limit_s=self.time_limit_s,
            memory_limit_mib=self.memory_limit_mib,
            reading=self.reading,
            within=within,
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is. files: in the folder, done: of them, before and now; slices: classified now, in `seconds`."""

    files: int
    done: int
    failed: int
    slices: int
    seconds: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """How a run ended.

    files, failed: in the tables; acknowledged: of the failed ones (`--ignore`);
    slices: rows with an answer of the network, copies too; now: answered by this start of the run.
    abstained: slices without a class; excluded: slices that an input gate kept from the network.
    copies: rows that show what another one of their series shows; of all but `slices`, `now` and `failed` left out.
    classes: slices per class name; reasons, excluded_reasons: failed and excluded rows per reason, the most frequent.
    others: files that are not scans, by suffix. tables: result files. stopped: the run was asked to stop before its
    end; missing: files it has not reached. added, removed: files that the run before had not, and those that are gone.
    slices_per_s: over `seconds`, from the first file to the last row. exit_code: of the command that made the run, as
    far as the run decides it: what follows, such as an upload, may fail yet.
    """

    files: int
    failed: int
    acknowledged: int
    slices: int
    copies: int
    abstained: int
    excluded: int
    now: int
    missing: int
    added: int
    removed: int
    stopped: bool
    resumed: bool
    classes: Mapping[str, int]
    reasons: Mapping[str, int]
    excluded_reasons: Mapping[str, int]
    others: Mapping[str, int]
    seconds: float
    slices_per_s: float
    run_id: str
    device: str
    tables: tuple[Path, ...]
    run_json: Path
    exit_code: int
    warnings: tuple[str, ...] = field(default=())

    @property
    def news(self) -> int:
        """Failed rows that nobody has acknowledged."""
        return self.failed - self.acknowledged
