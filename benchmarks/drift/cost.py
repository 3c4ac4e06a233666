"""Processor time of looking at slices beside decoding them, in turns: JPEG and DICOM of 256×256.

    python -m benchmarks.drift.cost [--slices 100] [--rounds 5]

Decoding is what a worker does with a file: hash, header, pixels, gates, window, size, and the checksum. Medians of the
rounds; the share is of one slice in four. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

from PIL import Image

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.decode.checksum import checksum
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.scans import Frame, Reader, dicom, image
from lits_deploy.scans.appearance import ONE_IN, look
from train.phantom import make_phantom

WINDOW = (-40.0, 160.0)
CONTRACT = InputContract(window_hu=WINDOW)


def measured(files: Sequence[bytes], reader: Reader, rounds: int) -> dict[str, float]:
    """Microseconds a slice: decode, look (at one that is looked at), and the share of the first that looking takes."""
    frames = [(frame.pixels, frame.in_hu) for data in files for frame in _decoded(data, reader)]
    decode, looks = [], []
    for _ in range(rounds):
        decode.append(_timed(lambda: [_decoded(data, reader) for data in files], len(files)))
        looks.append(
            _timed(lambda: [look(pixels[0], in_hu) for pixels, in_hu in frames if pixels is not None], len(frames))
        )
    share = median(one / ONE_IN / other for one, other in zip(looks, decode, strict=True))
    return {"decode_us": median(decode), "look_us": median(looks), "share": share}


def _decoded(data: bytes, reader: Reader) -> list[Frame]:
    hashlib.sha256(data).hexdigest()
    frames = [frame for frame in reader.read(data, CONTRACT).frames if frame.pixels is not None]
    for frame in frames:
        assert frame.pixels is not None
        checksum(frame.pixels[0])
    return frames


def _timed(work: Callable[[], object], count: int) -> float:
    begun = process_time()
    work()
    return 1e6 * (process_time() - begun) / count


def files(count: int) -> dict[str, tuple[list[bytes], Reader]]:
    """Phantom slices as files, with who reads them."""
    from train.phantom.dicom import write_series

    phantom = make_phantom(0, 0)
    pictures = []
    for hu in phantom.hu[:count]:
        buffer = io.BytesIO()
        Image.fromarray(window_to_uint8(hu, WINDOW)).save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    with TemporaryDirectory() as folder:
        names = [name for name in write_series(Path(folder), phantom) if name.endswith(".dcm")]
        series = [(Path(folder) / name).read_bytes() for name in names[:count]]
    return {"JPEG": (pictures, image), "DICOM": (series, dicom)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found = {name: measured(*made, asked.rounds) for name, made in files(asked.slices).items()}
    say("format  decode µs  look µs  one in four, share of decode")
    for name, row in found.items():
        say(f"{name:6}  {row['decode_us']:9.0f}  {row['look_us']:7.0f}  {row['share']:.1%}")
    say(json.dumps(found))
    return 0


if __name__ == "__main__":
    run_program(main)
