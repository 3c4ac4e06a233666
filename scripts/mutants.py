"""Plant faults in the code's guards, one at a time, and fail where no test notices.

    .venv/bin/python scripts/mutants.py [WORD …] [--jobs 2]      all entries, or those whose name or file holds a WORD

The entries lie in tests/mutants/*.toml: a name (the fault, in words), a file, its text as it is (`old`, which must
occur exactly once), the text with the fault (`new`), and the tests that must notice. Each fault is planted in a copy of
the checkout, which has a virtual environment of its own: there every Python, decode workers with `-I` included,
imports the copy. The named tests first run without any fault; then one of them must *fail* with it. A fault that breaks
the import of a test or its fixtures proves nothing about the test, so it counts as a broken entry, as does a test that
hangs.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import tomllib

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 180.0
KILLED, SURVIVED, SKIPPED, STALE, BROKEN = "killed", "SURVIVED", "skipped", "STALE", "BROKEN"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One entry of a table."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run of pytest: how many tests passed, failed, broke or skipped. note: what did not pass."""

    counts: Counter[str]
    note: str = ""

    def verdict(self) -> tuple[str, str]:
        """What it says of a mutant that was planted: its state, and why where it was not killed."""
        if self.counts["failure"]:
            return KILLED, ""
        if self.counts["error"]:
            return BROKEN, f"no test failed: {self.note}"
        if passed := self.counts["passed"]:
            return SURVIVED, f"{passed} tests passed all the same"
        return (SKIPPED, "its tests skip on this machine") if self.counts["skipped"] else (BROKEN, "no test ran")


def read_tables(root: Path) -> list[Mutant]:
    """All entries of a checkout. Raises TypeError or KeyError for one that lacks a field or has a foreign one."""
    entries = []
    for path in sorted((root / "tests/mutants").glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]:
            entries.append(Mutant(**{**entry, "tests": tuple(entry["tests"])}))
    return entries


def problem(root: Path, mutant: Mutant) -> str | None:
    """Why an entry cannot be planted; None if it can."""
    path = root / mutant.file
    if not path.is_file():
        return "there is no such file"
    if (count := path.read_text(encoding="utf-8").count(mutant.old)) != 1:
        return f"its text occurs {count} times in {mutant.file}, not once"
    for test in mutant.tests:
        name, _, function = test.partition("::")
        function = function.rpartition("::")[2].partition("[")[0]
        if not (root / name).is_file() or f"def {function}" not in (root / name).read_text(encoding="utf-8"):
            return f"there is no test {test}"
    return None if mutant.tests else "it names no test"


class Copy:
    """A copy of a checkout's files, tracked or new, with a virtual environment whose imports lead into the copy."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder, self.root = folder, folder / "checkout"
        listed = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, check=True, capture_output=True).stdout.split(b"\0"):
            source = root / os.fsdecode(name)
            if name and source.is_file():
                target = self.root / os.fsdecode(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        if (root.parent / "shared").is_dir():  # tests with real data look for it beside the checkout
            (folder / "shared").symlink_to((root.parent / "shared").resolve())
        venv.create(self.root / ".venv", symlinks=True)
        self._python = str(self.root / ".venv/bin/python")
        (site,) = (self.root / ".venv/lib").glob("python*/site-packages")
        # The copy first, then what is installed. Its own .pth files, which name the real checkout, are not followed.
        installed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        (site / "copy.pth").write_text("\n".join([str(self.root), *installed]) + "\n")
        self._plants = 0
        self._check()

    def _check(self) -> None:
        command = [self._python, "-I", "-c", "import lits_deploy; print(lits_deploy.__file__)"]
        found = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout.strip()
        if not Path(found).is_relative_to(self.root):
            raise RuntimeError(f"the copy's Python imports {found}: no fault would be seen")

    def run(self, tests: Sequence[str], *, first_only: bool) -> Outcome:
        """Run tests in the copy, those marked slow included; up to the first that fails."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        command = [self._python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not gpu and not tensorrt"]
        command += [f"--basetemp={self._folder / 'tmp'}", f"--junitxml={report}", *tests, *(["-x"] * first_only)]
        # The caller's PYTHON… variables would make a difference; plugins take a second each to load.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        process = subprocess.Popen(
            command,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        try:
            said, _ = process.communicate(timeout=LIMIT_S if first_only else 5 * LIMIT_S)
        except subprocess.TimeoutExpired:
            return Outcome(counts=Counter(error=1), note=f"no end within {LIMIT_S:g} s")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode not in (0, 1) or not report.exists():
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            return Outcome(counts=Counter(error=1), note=f"pytest ended with {process.returncode}: {' '.join(last)}")
        counts, bad = Counter[str](), []
        for case in ElementTree.parse(report).iter("testcase"):
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            counts.update(kinds or {"passed"})
            if kinds & {"failure", "error"}:
                bad.append(f"{case.get('classname')}::{case.get('name')}")
        return Outcome(counts=counts, note=", ".join(bad))

    def try_out(self, mutant: Mutant) -> tuple[str, str]:
        """Plant a mutant, run its tests, and put the text back; its state, and a note."""
        path = self.root / mutant.file
        text, status = path.read_text(encoding="utf-8"), path.stat()
        changed = text.replace(mutant.old, mutant.new)
        if changed == text:
            return BROKEN, "it changes nothing"
        if path.suffix == ".py":
            try:
                compile(changed, mutant.file, "exec")
            except SyntaxError as error:
                return BROKEN, f"with it, {mutant.file} is not Python ({error})"
        try:
            path.write_text(changed, encoding="utf-8")
            # Bytecode is looked up by second and size of its source: without a time of its own, a fault of equal
            # length might run as the one before it.
            self._plants += 1
            os.utime(path, (status.st_atime, status.st_mtime + self._plants))
            return self.run(mutant.tests, first_only=True).verdict()
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def try_all(root: Path, mutants: Sequence[Mutant], *, jobs: int = 2) -> Counter[str]:
    """How many mutants there are of each state; prints a line when one is known. SystemExit where tests fail without
    any."""
    states = Counter[str]()

    def report(mutant: Mutant, state: str, note: str, seconds: float = 0.0) -> None:
        states[state] += 1
        note = f"  ({note})" if note else ""
        print(f"{state:<9} {seconds:5.1f} s  {mutant.file}: {mutant.name}{note}", flush=True)

    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    tests = set[str]()
    for mutant in mutants:
        if (why := problem(root, mutant)) is not None:
            report(mutant, STALE, why)
        else:
            waiting.put(mutant)
            tests.update(mutant.tests)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Copy(root, Path(folder).resolve() / str(number)) for number in range(max(1, jobs))]
        stopped = threading.Event()

        def prove(number: int) -> str:
            share = sorted(tests)[number :: len(copies)]
            sound = copies[number].run(share, first_only=False) if share else Outcome(counts=Counter())
            return sound.note if sound.counts["failure"] or sound.counts["error"] else ""

        def work(copy: Copy) -> None:
            with suppress(queue.Empty):
                while not stopped.is_set():
                    mutant, started = waiting.get_nowait(), time.monotonic()
                    state, note = copy.try_out(mutant)
                    report(mutant, state, note, time.monotonic() - started)

        with ThreadPoolExecutor(len(copies)) as pool:
            try:
                if failed := [note for note in pool.map(prove, range(len(copies))) if note]:
                    raise SystemExit(f"These fail without any fault: {', '.join(failed)}")
                print(f"{len(tests)} tests pass without a fault; planting {waiting.qsize()}", flush=True)
                list(pool.map(work, copies))
            finally:
                stopped.set()  # Ctrl-C: no further mutant
    return states


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Exit code: 0 where every mutant was killed (or its tests skip here), else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("terms", nargs="*", metavar="WORD", help="only entries whose name or file holds one of these")
    parser.add_argument("--jobs", type=int, default=2, help="copies of the checkout that are tried side by side")
    asked = parser.parse_args(arguments)
    entries = [(entry, f"{entry.name} {entry.file}") for entry in read_tables(root)]
    mutants = [entry for entry, text in entries if not asked.terms or any(word in text for word in asked.terms)]
    if not mutants:
        raise SystemExit("no such mutant in tests/mutants")
    started = time.monotonic()
    states = try_all(root, mutants, jobs=asked.jobs)
    counts = (f"{states[state]} {state}" for state in (KILLED, SURVIVED, SKIPPED, STALE, BROKEN) if states[state])
    print(f"{len(mutants)} mutants in {time.monotonic() - started:.0f} s: {', '.join(counts)}")
    return 1 if states[SURVIVED] or states[STALE] or states[BROKEN] else 0


if __name__ == "__main__":
    sys.exit(main())
