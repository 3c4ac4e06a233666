"""A run under way: what it is about, where its results go, and who is at work on it.

RunHooks      what its caller sees of it, and has to do with it
RunContext    what every station knows, wherever the answers come from
NetworkRun    a run whose answers come of a network here
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.contract import InputContract
from lits_deploy.decode.decoding import Decoding
from lits_deploy.ledger import Ledger
from lits_deploy.pipeline.inference import InferenceThreads, Opened
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import ClassifyOptions, Progress
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.scans import Slice
from lits_deploy.scans.listing import Listing


class Keeper(Protocol):
    """Who wants to see pixels with their answers, for what follows a run."""

    def add(self, file: int, index: int, lesion: float, pixels: Slice) -> None:
        """A slice of a file with its lesion probability; pixels are to be copied if they are kept."""

    def done(self, file: int) -> None:
        """All answers of a file are there."""

    def forget(self, file: int) -> None:
        """A file failed, or begins anew."""

    @property
    def pixels(self) -> dict[tuple[int, int], Slice]:
        """What is kept, by file and index."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunHooks:
    """What a caller sees of a run under way, and has to do with it.

    stop: lets another thread or a signal handler end the run in good order (`pipeline.stop`); the same call then goes
    on. on_progress: called in the run's thread, at most ten times a second.
    finish: called when all is in the ledger and the tables are written, workers and network still there; gives the
    paths of what else it wrote (reports, masks). keep: makes what sees pixels and answers on their way, for `finish`.
    """

    stop: Stop = field(default_factory=Stop)
    on_progress: Callable[[Progress], None] | None = None
    keep: Callable[[], Keeper] | None = None
    finish: Callable[[RunContext], Sequence[Path]] | None = None


@dataclass(frozen=True, kw_only=True)
class RunContext(ABC):
    """All of them are open until the run ends, after what follows it."""

    bundle: Bundle
    artifact: Artifact
    options: ClassifyOptions
    listing: Listing
    output: OutputFolder
    naming: Naming
    decoding: Decoding
    hooks: RunHooks
    keeper: Keeper | None = None

    @property
    def stop(self) -> Stop:
        """Whether the run is to end early."""
        return self.hooks.stop

    @property
    def ledger(self) -> Ledger:
        """Of the output folder."""
        return self.output.ledger

    @property
    def contract(self) -> InputContract:
        """Of the bundle."""
        return self.bundle.manifest.contract

    @property
    @abstractmethod
    def info(self) -> RuntimeInfo:
        """What the answers are computed with; asked for once that is known."""

    def check_network(self) -> None:  # noqa: B027 - there may be none
        """Raise what has broken the network, if there is one."""

    def end_network(self) -> None:  # noqa: B027
        """Let go of the network, if there is one: every answer is there."""


@dataclass(frozen=True, kw_only=True)
class NetworkRun(RunContext):
    """A run that decodes its scans and answers them."""

    network: InferenceThreads

    @property
    def opened(self) -> Opened:
        """The network, which has been waited for."""
        assert self.network.opened is not None
        return self.network.opened

    @property
    def info(self) -> RuntimeInfo:
        """Of the opened network."""
        return self.opened.info

    def check_network(self) -> None:
        """Raise what broke it: one that cannot be opened is reported at once."""
        list(self.network.take())

    def end_network(self) -> None:
        """Wait until its threads have let go of it."""
        self.network.close(wait=True)
