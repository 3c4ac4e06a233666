"""What fits onto a GPU, found by trying: what does not is tried smaller, and the end says how much was missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.mishaps import no_room
from lits_deploy.trt.cuda import Cuda
from lits_deploy.trt.key import Profile

Made = TypeVar("Made")


def largest_that_fits(
    profile: Profile,
    attempt: Callable[[Profile], Made],
    *,
    what: str,
    cuda: Cuda,
    say: Callable[[str], None],
    insist: bool = False,
) -> Made:
    """What `attempt` makes of the profile, or of the next smaller one for which the GPU has memory.

    insist: no smaller one will do. say: gets a line when one is tried. Raises DeviceError that names `what` and the
    memory that was missing.
    """
    while True:
        try:
            return attempt(profile)
        except DeviceOutOfMemory as error:
            smaller = None if insist else profile.smaller()
            if smaller is None:
                fix = "--max-batch smaller" if insist else "another --artifact, or --device cpu"
                raise no_room(
                    f"{what} with batches up to {profile.most}",
                    error,
                    free=cuda.free_memory(),
                    fix=f"other programs off the GPU, {fix}",
                ) from error
            say(f"no memory for {what} with batches up to {profile.most}; trying {smaller.most} ({error})")
            profile = smaller
