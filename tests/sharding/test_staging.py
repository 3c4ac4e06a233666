"""The scratch database of a plan: on disk, bounded in memory, without a name, and a full disk is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lits_deploy.errors import OutputError
from lits_deploy.scans.discover import ScanRecord
from lits_deploy.sharding.staging import Staging

_PLAN = """
import sys
from pathlib import Path
import json
from benchmarks.growth import step, synthetic_scans
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.sharding import staging
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.plan import plan_scans
from lits_deploy.sharding.plan_record import PlanRequest

staging._CACHE_KIB = 2048
count, folder = int(sys.argv[1]), Path(sys.argv[2])
for _ in range(2):
    listing = synthetic_scans.SyntheticScans(count)
    asked = PlanRequest(bundle=synthetic_scans.bundle(), listing=listing, roots=["/archive"], options=step.OPTIONS,
                        shard_slices=1000)
    plan_scans(asked, JobFolder(str(folder / "job")), open_reader=synthetic_scans.headers)
print(json.dumps(peak_resident_bytes() / 1e6))
"""


def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(OutputError, match=r"No room for the plan's scratch data .*Fix: TMPDIR=FOLDER"):
        _fill()


def _fill() -> None:
    with Staging() as staging:
        staging._db.execute("PRAGMA max_page_count = 40")
        staging.see(ScanRecord(f"a/{number:05d}", 1, 1) for number in range(20_000))


def test_it_has_no_name() -> None:
    with Staging() as staging:
        staging._db.execute("PRAGMA cache_size = 10")
        staging.see(ScanRecord(f"a/{number:05d}", 1, 1) for number in range(20_000))
        opened = [path for path in map(_opened, Path("/proc/self/fd").iterdir()) if "etilqs" in path]
        assert opened
        assert all(path.endswith(" (deleted)") for path in opened)


def _opened(descriptor: Path) -> str:
    with suppress(OSError):
        return str(descriptor.readlink())
    return ""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    peaks = []
    for count in (20_000, 60_000):
        command = [sys.executable, "-c", _PLAN, str(count), str(tmp_path / str(count))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(json.loads(done.stdout))
    assert peaks[1] < peaks[0] + 15, peaks
