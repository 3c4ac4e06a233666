"""A worker process that decodes nothing: it speaks as `sharding.worker` does, and does what files in JOB ask for.

JOB/die-7       the process that is given shard 7 kills itself, once for each line of the file
JOB/refuse-7    it refuses shard 7
JOB/slow-7      it waits until it is told to stop
JOB/broken      it cannot work at all
JOB/done        shards that are done, a line each
"""

from __future__ import annotations

import sys

SCRIPT = r"""
import json, os, signal, sys
from pathlib import Path
stream = os.fdopen(os.dup(0), "rb")
start = json.loads(stream.readline())
job = Path(start["job"])
def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
(job / f"pid-{os.getpid()}").write_text(json.dumps(start))
print("x" * 200_000, "a line on standard error", file=sys.stderr, flush=True)
if (job / "broken").exists():
    say(broken="The bundle is damaged.", fix="copy it again")
    sys.exit(2)
say(joined={"name": "fake", "device": start["options"]["device"]})
for line in stream:
    message = json.loads(line)
    if message.get("stop"):
        continue
    shard = message["shard"]
    die = job / f"die-{shard}"
    if die.exists() and (times := die.read_text().splitlines()):
        die.write_text("\n".join(times[1:]))
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if (job / f"refuse-{shard}").exists():
        say(refused="files have changed")
        continue
    say(progress={"files": 10, "done": 5, "failed": 0, "slices": 5, "seconds": 0.5, "note": ""})
    if (job / f"slow-{shard}").exists():
        assert json.loads(stream.readline()) == {"stop": True}
        say(stopped=True)
        continue
    with (job / "done").open("a") as done:
        done.write(f"{shard} {start['options']['device']} {os.getpid()}\n")
    if message.get("ledger"):
        Path(message["ledger"]).write_bytes((job / f"ledger-{shard}").read_bytes())
    say(note="a note")
    say(published=10, failed=1, warnings=["a warning"])
"""

COMMAND = [sys.executable, "-I", "-c", SCRIPT]
