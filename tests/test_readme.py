"""The commands of the README print what it shows: numbers may differ, `…` stands for anything."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_WORDS = 700


def console(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a page's console blocks, each with the lines shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(shown: list[str]) -> str:
    """What matches the lines, any number for a number and any text for `…`; spaces go with the width of numbers."""
    text = re.escape("\n".join(shown).strip())
    text = re.sub(r"\d+(?:(?:\\\.|,)\d+)*(?:e(?:\\?[-+])?\d+)?", r"[\\d.,]+(?:e[-+]?\\d+)?", text)
    return re.sub(r"(?:\\ )+", r" +", text).replace("…", "(?s:.*?)")


def test_patterns_let_numbers_differ_and_nothing_else() -> None:
    shown = ["liver   12  (3.4 %)", "…", "max 2.4e-07 done"]
    assert re.fullmatch(pattern(shown), "liver 1,304 (99 %)\nmore\nand more\nmax 1.0 done")
    assert not re.fullmatch(pattern(shown), "lover 12 (3.4 %)\nmore\nmax 2.4e-07 done")
    assert not re.fullmatch(pattern(shown), "liver 12 (3.4 %)\nmore\nmax 2.4e-07 don")


def test_the_readme_is_short_and_shows_five_commands() -> None:
    assert len(README.split()) <= MOST_WORDS
    assert len(console(README)) == 5
    assert all(lines for _, lines in console(README))


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_the_commands_print_what_is_shown(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LITS_DEPLOY")}
    for command, shown in console(README):
        arguments = shlex.split(command)
        assert arguments[0] == "lits-deploy"
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy", *arguments[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(pattern(shown), done.stdout.strip()), done.stdout
