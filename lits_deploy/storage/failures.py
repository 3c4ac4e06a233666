"""What an object store's failures mean: whether to ask again, and the line that says what to do.

pyarrow tells them in sentences that name the AWS error (`AWS Error ACCESS_DENIED during HeadObject …`). They may quote
keys, which name patients; so nothing of them is passed on but the error's name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import sleep
from typing import TypeVar

from lits_deploy.errors import StorageError

T = TypeVar("T")

ATTEMPTS, FIRST_PAUSE_S = 7, 0.2
"""Each pause is twice the last one: 13 s in all. Of a store that fails every tenth request, one object in 10 million
fails for good; with five attempts, one in 100,000 did."""

_CREDENTIALS = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NAMED = re.compile(r"AWS Error (?:UNKNOWN \(HTTP status (?P<status>\d+)\)|(?P<name>[A-Z_]+))")
_REFUSED = frozenset({"ACCESS_DENIED", "ALL_ACCESS_DISABLED", "INVALID_OBJECT_STATE"})
_BAD_KEYS = frozenset(
    "INVALID_ACCESS_KEY_ID INVALID_CLIENT_TOKEN_ID SIGNATURE_DOES_NOT_MATCH INVALID_SIGNATURE INCOMPLETE_SIGNATURE"  # noqa: SIM905
    " MISSING_AUTHENTICATION_TOKEN UNRECOGNIZED_CLIENT EXPIRED_TOKEN REQUEST_EXPIRED OPT_IN_REQUIRED".split()
)
_STATUS = {"401": "INVALID_ACCESS_KEY_ID", "403": "ACCESS_DENIED", "301": "PERMANENT_REDIRECT"}


@dataclass(frozen=True)
class Failure:
    """why: a few words without a path. fix: what to do. passing: it may be gone when asked again. reached: the store
    has answered."""

    why: str
    fix: str
    passing: bool = False
    reached: bool = True


def failure_of(error: Exception) -> Failure:
    """What an error of pyarrow's means."""
    text = str(error)
    found = _NAMED.search(text)
    name = "" if found is None else found["name"] or _STATUS.get(found["status"], f"HTTP status {found['status']}")
    if name == "NO_SUCH_BUCKET":
        return Failure("there is no such bucket", "check its name, and --endpoint")
    if name in _REFUSED:
        return Failure("access denied", f"credentials with rights on it ({_CREDENTIALS})")
    if name in _BAD_KEYS:
        return Failure("the credentials are not accepted", f"renew them ({_CREDENTIALS})")
    if name == "PERMANENT_REDIRECT":
        return Failure("the bucket is in another region", "AWS_REGION, set to the bucket's")
    if name == "NETWORK_CONNECTION":
        unreachable = "curlCode: 6," in text or "curlCode: 7," in text  # no such host, nobody there
        why = "the store cannot be reached" if unreachable else "the connection to the store broke"
        return Failure(why, "check the network, and --endpoint", passing=True, reached=not unreachable)
    why = f"the store failed ({name.lower().replace('_', ' ') or 'no reason given'})"
    return Failure(why, "run the same command again; if it stays so, look at the store", passing=True)


def retried(what: str, ask: Callable[[], T], *, attempts: int = ATTEMPTS, reached: bool = True) -> T:
    """What `ask` gives, asked again with growing pauses while its failure may pass.

    what: for the message (`s3://bucket cannot be read`). reached: the store has answered before, so that one which
    cannot be reached is waited for. Raises StorageError; FileNotFoundError as it comes.
    """
    for attempt in range(1, attempts + 1):
        try:
            return ask()
        except FileNotFoundError:
            raise
        except OSError as error:
            failure = failure_of(error)
            if not failure.passing or attempt == attempts or not (reached or failure.reached):
                why = failure.why
                raise StorageError(f"{what}: {why}.", fix=failure.fix, why=why) from None  # its text names keys
        sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
    raise AssertionError
