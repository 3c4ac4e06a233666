"""Published type stubs of TensorRT, for mypy alone: into a folder that no interpreter looks into, and mended there.

    python scripts/type_stubs.py FOLDER

`tensorrt-stubs` asks for TensorRT itself, so it is installed without dependencies; installed beside other packages it
would make a module `tensorrt` without code. As published it is not valid Python (parameters called `in`, and one
without a default behind some with one); the lines are mended by rule. Exits 1 with one line where that does not help:
then it is another version, and the rules need a look.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "tensorrt-stubs"

RULES = (
    (re.compile(r"(?<=[(,] )in(?=: )|(?<=\()in(?=: )"), "in_"),  # a keyword cannot name a parameter
    (re.compile(r"(= None, channel_axis: int)(?=\))"), r"\1 = ..."),
)


def mend(text: str) -> str:
    """The stub as valid Python; SyntaxError where the rules do not do it."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if line.lstrip().startswith("def "):
            for pattern, replacement in RULES:
                line = pattern.sub(replacement, line)
            lines[index] = line
    mended = "\n".join(lines)
    ast.parse(mended)
    return mended


def main(folder: Path) -> int:
    """Install and mend; whatever was in `folder` is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    where = ["--no-deps", "--no-compile", "--target", str(folder), "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *where, PACKAGE], check=True)
    for path in sorted(folder.rglob("*.pyi")):
        text = path.read_text(encoding="utf-8")
        try:
            mended = mend(text)
        except SyntaxError as error:
            print(f"error: {path.name}:{error.lineno} is not Python ({error.msg}). Fix: mend it in RULES, {__file__}")
            return 1
        if mended != text:
            path.write_text(mended, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
