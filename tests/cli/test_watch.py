"""`lits-deploy watch` as a process: killed within a study and started again, ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from folder_runs import SIZE, answered, rows
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

LONG = 60.0  # seconds until a test gives up


def start(bundle: Path, inbox: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lits_deploy", "watch", str(bundle), str(inbox), "--out", str(out)]
    command += ["--complete-after", "0.2", "--salt", "one", "--batch-size", "1", "--workers", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_within_a_study_it_goes_on_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56).folder
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    folder_of_slices(inbox / "Miller", 400, size=SIZE)

    process = start(bundle, inbox, out)
    until = time.monotonic() + LONG
    while not answered(out) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert 0 < answered(out) < 400

    folder_of_slices(inbox / "Smith", 10, size=SIZE)
    process = start(bundle, inbox, out)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]  # each study holds two series, by their folders
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=LONG)
    assert process.returncode == 0, said
    assert not rest
    assert all(line.startswith("study ") for line in lines)
    assert [sum(f", entry {name}: " in line for line in lines) for name in ("Miller", "Smith")] == [2, 2]
    assert "slice-" not in "".join(lines) + said
    assert "not for clinical use" in said
    assert "Traceback" not in said

    command = [
        sys.executable,
        "-m",
        "lits_deploy",
        "classify",
        str(bundle),
        str(inbox),
        "--out",
        str(tmp_path / "once"),
    ]
    done = subprocess.run([*command, "--salt", "one"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(rows(out)) == 410
    for name in ("slices.csv", "studies.csv"):
        assert (out / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    pages = [(folder / "report.html").read_text() for folder in (out, tmp_path / "once")]
    one, other = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC(?: to [-\d]+ [:\d]+ UTC)?", "WHEN", text) for text in pages)
    assert one == other, "but for when"


def test_a_wrong_start_is_one_line(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56).folder
    process = start(bundle, tmp_path / "none", tmp_path / "out")
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in said


def test_systemd_hears_that_it_is_ready_and_alive_and_the_metrics_show_it_idle(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56).folder
    inbox, metrics = tmp_path / "inbox", tmp_path / "m.prom"
    folder_of_slices(inbox / "Miller", 4, size=SIZE)
    arguments = ["watch", str(bundle), str(inbox), "--out", str(tmp_path / "out"), "--complete-after", "0.2"]
    arguments += ["--workers", "1", "--log-format", "json", "--metrics", str(metrics)]
    program = (
        f"import sys\nsys.argv[1:] = {arguments!r}\nimport lits_deploy.events.session as events\nevents.EVERY_S = 0.2\n"
    )
    program += "from lits_deploy.__main__ import main\nmain()\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(LONG)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        environment.pop("WATCHDOG_PID", None)  # of a process of systemd's that runs the tests
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            messages: list[str] = []
            idle = "STATUS=Watching: 1 entry, 0 to do"
            while idle not in messages or messages[-1] != "WATCHDOG=1":
                messages += receiver.recv(4096).decode().split("\n")
            assert messages[0] == "READY=1"
            assert "STATUS=Classifying 1 entry" in messages
            until = time.monotonic() + LONG
            while 'state="to_do"} 0' not in metrics.read_text() and time.monotonic() < until:
                time.sleep(0.05)
            text = metrics.read_text()
            assert 'lits_deploy_running{command="watch"} 1' in text
            assert "lits_deploy_last_study_timestamp_seconds" in text
            process.send_signal(signal.SIGTERM)
            lines, said = process.communicate(timeout=LONG)
            receiver.settimeout(0.5)
            while "STOPPING=1" not in messages:
                messages += receiver.recv(4096).decode().split("\n")
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert len(lines.splitlines()) == 2, "two series, by their folders"
    assert lines.count("entry Miller: ") == 2
    assert "Miller" not in said
    events = [json.loads(line) for line in said.splitlines()]
    names = {event["event"] for event in events}
    assert {"start", "heartbeat", "study", "note", "end"} <= names
    assert 'lits_deploy_last_exit_code{command="watch"} 0' in metrics.read_text()
