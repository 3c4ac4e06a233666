"""Pictures of a merged run's most suspicious slices: brought from the shards, which made them, and the page drawn.

A shard pictures the most suspicious of its series, so those of all shards are among them; unless one of those turns out
to be a copy of a series elsewhere, and another takes its rank. What no shard has is drawn if the bundle is here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lits_deploy.bundle import Bundle
from lits_deploy.decode.decoding import StoppedError
from lits_deploy.ledger import PICTURES, PictureRow
from lits_deploy.ledger.absorb import LedgerDamage
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.output import REPORT
from lits_deploy.report.choose import Key
from lits_deploy.report.page import write_page
from lits_deploy.report.picture_pass import cam_overlay, draw_pictures, wanted_pictures
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.published import PublishedShard, at_hand, damaged


def page_of_shards(
    job: JobFolder,
    shards: Mapping[int, PublishedShard],
    folder: Path,
    *,
    bundle: Bundle | None,
    say: Callable[[str], None],
) -> Callable[[RunContext], Sequence[Path]]:
    """What follows a merge: the pictures that the page wants, and the page.

    shards: by number; folder: takes ledgers that do not lie here; bundle: with its files, to draw what no shard has.
    say: gets what a user should know. Raises OutputError for a damaged shard.
    """

    def finish(run: RunContext) -> Sequence[Path]:
        overlay = next((one.pictures for one in shards.values() if one.pictures is not None), None)
        if not run.stop.requested and overlay is not None:
            left = _bring(run, overlay)
            if left and not _drawn(run, overlay):
                say(f"{left:,} pictures of suspicious slices are in no shard. Fix: name the bundle behind JOB")
        return [write_page(run.ledger, run.output.out / REPORT)]

    def _bring(run: RunContext, overlay: str) -> int:
        """Take what is wanted and not there; how many no shard has. overlay: the note of what is drawn over them."""
        ledger = run.ledger
        wanted = wanted_pictures(ledger)
        there = ledger.pictured() & wanted.keys() if ledger.noted(PICTURES) == overlay else set[Key]()
        missing = wanted.keys() - there
        of = ledger.absorb.shards_of(sorted({file for file, _ in missing}))
        by_shard: defaultdict[int, list[Key]] = defaultdict(list)
        for key in sorted(missing):
            if of.get(key[0]) in shards:
                by_shard[of[key[0]]].append(key)
        brought: list[PictureRow] = []
        for number, keys in by_shard.items():
            one = shards[number]
            if one.pictures != overlay:
                continue
            try:
                brought += ledger.absorb.pictures(at_hand(job, one.entry, folder), keys)
            except LedgerDamage as error:
                raise damaged(job, one.entry, str(error)) from error
        ledger.keep_pictures(there | {(row.file, row.idx) for row in brought}, brought)
        ledger.note(PICTURES, overlay)
        return len(missing) - len(brought)

    def _drawn(run: RunContext, overlay: str) -> bool:
        """Draw what no shard has, with the overlay of the others; whether that could be done."""
        if bundle is None:
            return False
        own = cam_overlay(bundle, run.artifact, run.info, threads=run.options.threads)
        if own.note != overlay:  # outlines of a U-Net
            return False
        try:
            draw_pictures(run, own, say=say)
        except StoppedError:
            say("Stopped before the report had its pictures: the same command draws them.")
        return True

    return finish
