"""Pictures for the report: the most suspicious slices are decoded once more and looked at, and go into the ledger.

What is drawn over them is an `Overlay`: the class-activation map of the classifier, a U-Net's labels, or nothing, with
the reason. Pictures that the ledger has already stay, as long as they were drawn with the same overlay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

import numpy as np

from lits_deploy.backends import open_runtime
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.contract import unshared
from lits_deploy.decode.decoding import StoppedError
from lits_deploy.decode.job import DecodeJob
from lits_deploy.errors import BundleError, ContractError, DeviceOutOfMemory, LitsError
from lits_deploy.events.wording import Quoting, wording
from lits_deploy.files import canonical_json
from lits_deploy.ledger import PICTURES, Ledger, PictureRow, ResultRow
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.neighbours import Neighbours
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.report import choose
from lits_deploy.report.activation import NO_MAP, map_source
from lits_deploy.report.choose import Key
from lits_deploy.report.pictures import Contours, heat_contours, label_contours, thumbnail, to_json
from lits_deploy.runtime import Outputs, Runtime, RuntimeInfo
from lits_deploy.scans import Slice


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """What is drawn over a slice.

    kind: `cam`, `labels` or `none`; network: whose; why: there is none. open: loads the network; draw: contours of
    slice n of its outputs, given that slice's lesion probability.
    """

    kind: str
    network: str = ""
    why: str | None = None
    open: Callable[[], Runtime] | None = None
    draw: Callable[[Outputs, int, float], Contours] = lambda _outputs, _n, _p2: {}

    @property
    def note(self) -> str:
        """As the ledger keeps it; pictures under another note are drawn anew."""
        return canonical_json({"kind": self.kind, "network": self.network, "why": self.why})


def cam_overlay(bundle: Bundle, artifact: Artifact, info: RuntimeInfo, *, threads: int = 0) -> Overlay:
    """The class-activation map by the artifact in use where it has one, else by the bundle's FP32 file on the CPU."""
    source = map_source(bundle, artifact, info, threads=threads)
    if source is None:
        return Overlay(kind="none", why=NO_MAP)

    def draw(outputs: Outputs, n: int, p2: float) -> Contours:
        assert outputs.cam is not None
        return heat_contours(outputs.cam[n], source.grid) if p2 >= choose.WORTH else {}

    network = f"{bundle.manifest.model.get('name', '')} {source.artifact.name}"
    return Overlay(kind="cam", network=network, open=source.open, draw=draw)


def label_overlay(segmenter: Bundle, options: ClassifyOptions) -> Overlay:
    """Outlines by a U-Net; `check_segmenter` says beforehand whether it fits."""
    load = partial(
        open_runtime,
        segmenter,
        device=options.device,
        max_batch=4,
        wanted=("labels",),
        options=options.runtime_options(),
    )

    def draw(outputs: Outputs, n: int, _p2: float) -> Contours:
        assert outputs.labels is not None
        return label_contours(outputs.labels[n])

    name = segmenter.manifest.model.get("name", "")
    return Overlay(kind="labels", network=f"{name} {segmenter.sha256[:12]}", open=load, draw=draw)


def check_segmenter(bundle: Bundle, segmenter: Bundle) -> None:
    """Raises BundleError for a bundle that does not segment, ContractError for one that sees slices otherwise.

    One that sees fewer neighbouring slices than the classifier is given those in the middle.
    """
    if segmenter.manifest.task != "segment":
        raise BundleError(f"{segmenter.folder} does not segment.", fix="--segmenter takes the bundle of a U-Net")

    ours, theirs = bundle.manifest.contract, segmenter.manifest.contract
    if differing := unshared(ours, theirs):
        differences = ", ".join(f"{name} {getattr(theirs, name)} for {getattr(ours, name)}" for name in differing)
        raise ContractError(f"The segmenter sees slices otherwise ({differences}).", fix="train both with one contract")


def wanted_pictures(ledger: Ledger) -> dict[Key, ResultRow]:
    """The slices that are to have a picture: the most suspicious ones."""
    wanted: dict[Key, ResultRow] = {}
    for _, rows in choose.chosen(ledger.rows_by_volume(), ledger.volumes()):
        wanted |= {(row.file, row.idx): row for row in rows if row.file is not None}
    return wanted


def draw_pictures(run: RunContext, overlay: Overlay, *, say: Callable[[str], None] = lambda _: None) -> None:
    """Give the ledger's most suspicious slices their pictures; ends the run's network and decoders.

    A slice that cannot be decoded any more has none. A network that cannot be opened
    leaves the pictures without contours; the note says why, and `say` gets the error. Raises StoppedError when asked to
    stop; the ledger is then as it was.
    """
    ledger = run.output.ledger
    wanted = wanted_pictures(ledger)
    there = ledger.pictured() if ledger.noted(PICTURES) == overlay.note else set()
    missing = {key: row for key, row in wanted.items() if key not in there}
    kept = {} if run.keeper is None else run.keeper.pixels
    pixels = {key: kept[key] for key in missing.keys() & kept.keys()}
    run.end_network()  # a network of their own follows, and decoders have its cores until then
    pixels |= _decoded(run, missing.keys() - kept.keys())
    run.decoding.close()
    found = {key: missing[key] for key in sorted(pixels)}
    contours, overlay = _looked_at(found, pixels, overlay, run.stop, say)
    made = [PictureRow(*key, *thumbnail(pixels[key]), to_json(contours.get(key, {}))) for key in found]
    ledger.keep_pictures((there & wanted.keys()) | found.keys(), made)
    ledger.note(PICTURES, overlay.note)


def _decoded(run: RunContext, missing: Iterable[Key]) -> dict[Key, Slice]:
    """The slices as the network saw them, those that can still be read."""
    only: dict[int, list[int]] = {}
    for file, index in sorted(missing):
        only.setdefault(file, []).append(index)
    ledger, real_path = run.output.ledger, run.listing.real_path
    neighbours_of = Neighbours(run).of if run.contract.channels > 1 else lambda _: ()
    jobs = [
        DecodeJob.of(row, real_path, only=tuple(only[row.file]), neighbours=neighbours_of(row.file))
        for row in ledger.staged_files(only)
    ]
    if not jobs:  # no worker is waited for, where all was done before
        return {}
    return {
        (end.job.file, frame.index): frame.pixels
        for end, frames in run.decoding.files(jobs, pixels=True, waited=monotonic)
        for frame in frames
        if frame.pixels is not None and end.reason is None
    }


def _looked_at(
    found: Mapping[Key, ResultRow],
    pixels: Mapping[Key, Slice],
    overlay: Overlay,
    stop: Stop,
    say: Callable[[str], None],
) -> tuple[dict[Key, Contours], Overlay]:
    """Contours of every slice; batches are the same whatever order the slices were decoded in."""
    if overlay.open is None or not found:
        return {}, overlay
    contours: dict[Key, Contours] = {}
    keys = list(found)
    try:
        with overlay.open() as network:
            for start in range(0, len(keys), network.max_batch):
                if stop.requested:
                    raise StoppedError
                part = keys[start : start + network.max_batch]
                for key, outputs, n in _answers(network, part, pixels):
                    contours[key] = overlay.draw(outputs, n, found[key].p2 or 0.0)
    except LitsError as error:
        none = "The report's pictures have no contours: "
        say(Quoting(f"{none}{error}", logged=f"{none}{wording(error, '')}"))
        # No word of the error: that of a bundle or runtime may quote the folder it lies in.
        why = f"the network that draws them could not be used ({type(error).__name__}; the command said more)"
        return {}, Overlay(kind="none", why=why)
    return contours, overlay


def _answers(network: Runtime, keys: Sequence[Key], pixels: Mapping[Key, Slice]) -> list[tuple[Key, Outputs, int]]:
    """Each slice's place in the network's outputs; one by one where the device has no room for all."""
    try:
        outputs = network.infer(np.stack([_central(pixels[key], network.shape[0]) for key in keys]))
    except DeviceOutOfMemory:
        if len(keys) == 1:
            raise
        return [answer for key in keys for answer in _answers(network, [key], pixels)]
    return [(key, outputs, n) for n, key in enumerate(keys)]


def _central(pixels: Slice, channels: int) -> Slice:
    """The middle slices of uint8 [C, S, S]: what a network of fewer channels would be given of the same series."""
    first = (len(pixels) - channels) // 2
    return pixels[first : first + channels]
