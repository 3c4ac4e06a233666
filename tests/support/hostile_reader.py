"""A reader of `.test` files that does what the file says, for tests of the pipeline's supervision.

grey 17            one slice of that grey value            slices 5     five slices, grey 0 to 4
hang               never comes back                        swell        takes 1 GiB of memory
die                the process kills itself                die once F   the same, if file F is not there yet
exit               the process ends with code 3            slices 5 then die once F / then fail / then hang
noise              prints to standard output and error     bug          raises KeyError
wrong shape, nothing, slow 0.2 (seconds; then grey 0), core limit (fails and tells it),
hang at F (makes that file first)
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READING, Frame, Reading, Scan
from lits_deploy.series import SliceHeader

MAX_BYTES = 1000


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    return Scan(series=None, window="tested", frames=_frames(data, contract))


def _frames(data: bytes, contract: InputContract) -> Iterator[Frame]:
    index = 0
    for step in data.decode().split(" then "):
        for pixels in _do(step.split(), contract):
            yield Frame(index=index, pixels=pixels, header=SliceHeader(number=index))
            index += 1


def _do(steps: list[str], contract: InputContract) -> Iterator[np.ndarray[Any, Any]]:
    match steps:
        case ["grey", value]:
            yield np.full(contract.shape, int(value), np.uint8)
        case ["slices", count]:
            for value in range(int(count)):
                yield np.full(contract.shape, value % 256, np.uint8)
        case ["hang"]:
            time.sleep(1000)
        case ["hang", "at", marker]:
            Path(marker).touch()
            time.sleep(1000)
        case ["slow", seconds]:
            time.sleep(float(seconds))
            yield np.zeros(contract.shape, np.uint8)
        case ["swell"]:
            _hoard = [np.ones(1 << 20, np.uint8) for _ in range(1024)]
        case ["die"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["die", "once", marker]:
            if not Path(marker).exists():
                Path(marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield np.zeros(contract.shape, np.uint8)
        case ["exit"]:
            os._exit(3)
        case ["fail"]:
            raise SliceError("broken on purpose")
        case ["bug"]:
            raise KeyError("the patient's name")
        case ["noise"]:
            print('{"ready": true}', flush=True)
            os.write(1, b"noise" * 100_000)
            os.write(2, b"noise" * 100_000)
            yield np.zeros(contract.shape, np.uint8)
        case ["wrong", "shape"]:
            yield np.zeros((3, 2, 2), np.uint8)
        case ["nothing"]:
            return
        case ["core", "limit"]:
            dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
            raise SliceError(f"{resource.getrlimit(resource.RLIMIT_CORE)}, dumpable {dumpable}")
        case _:
            raise SliceError("no such trick")
