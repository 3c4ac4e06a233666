"""End to end: a folder of files to a table of results, by `run_folder` in a fresh process.

The clock of `wall_s` runs from the call to the return: workers start, the network loads, everything is read, decoded,
classified and written. The interpreter's start and the imports are outside it and inside `process_s`. The steady rate
leaves the first batch and everything before it out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.contenders import Scored
from benchmarks.fresh import run_fresh
from benchmarks.inputs import Inputs
from lits_deploy.bundle import Bundle
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.run_json import read_run_json
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.paths import unescape
from lits_deploy.spreadsheet import read_rows


def classify_fresh(spec: dict[str, Any], roots: Sequence[Path], out: Path) -> dict[str, Any]:
    """Classify `roots` into `out` (a new folder) with the pipeline's own batch size and workers. Raises ChildError.

    spec: what with (`candidates.spec_of`). wall_s, process_s: see above; slices, failed; slices_per_second: over
    wall_s; steady_slices_per_second: None where there was one batch only; load_s: of the network alone; peak_mb: of the
    main process, without its decode workers.
    """
    absolute = [str(root.absolute()) for root in roots]
    return run_fresh(__name__, {**spec, "roots": absolute, "out": str(out.absolute())})


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process runs; libraries are imported before the clock starts."""
    from lits_deploy.backends import resolve
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.pipeline.run import run_folder
    from lits_deploy.runtime.onnxruntime_ import import_onnxruntime
    from lits_deploy.runtime.openvino_ import import_openvino

    if resolve(spec["runtime"], spec["device"])[0] == "openvino":
        import_openvino()
    else:
        import_onnxruntime()
    options = ClassifyOptions(
        runtime=spec["runtime"],
        device=spec["device"],
        artifact=spec["artifact"],
        threads=spec["threads"],
        abstain=False,  # peers always answer
        operating_point="argmax",  # by the most probable class
        engine_cache=spec["engine_cache"] and Path(spec["engine_cache"]),
    )
    roots = [Path(root) for root in spec["roots"]]
    started = perf_counter()
    bundle = Bundle.open(Path(spec["bundle"]))
    summary = run_folder(bundle, roots, Path(spec["out"]), options=options)
    wall = perf_counter() - started
    run = read_run_json(summary.run_json)
    timings, batch = run["timings"], run["options"]["batch_size"]
    return {
        "wall_s": wall,
        "slices": summary.slices,
        "files": summary.files,
        "failed": summary.failed,
        "slices_per_second": summary.slices / wall,
        "steady_slices_per_second": steady_rate(timings, summary.slices, batch),
        "load_s": timings["start_up"]["network_loaded_s"],
        "batch": batch,
        "workers": run["options"]["workers"],
        "peak_mb": peak_resident_bytes() / 1e6,
        "version": run["runtime"]["version"],
        "excluded": summary.excluded,
        "stages": timings["stages"],
        "start_up": timings["start_up"],
    }


def steady_rate(timings: dict[str, Any], slices: int, batch: int) -> float | None:
    """Slices a second from the first batch's results to the last row, from run.json's timings."""
    start = timings["start_up"]
    if start["first_result_s"] is None or slices <= batch:
        return None
    seconds = start["first_file_s"] + timings["files_s"] - start["first_result_s"]
    return float((slices - batch) / seconds) if seconds > 0 else None


def read_labels(out: Path, roots: Sequence[Path]) -> dict[str, int | None]:
    """Real path of each file → its class, from slices.csv of a run over pictures below `roots`; None for a failed one.

    Slices that an input gate excluded are left out; the run was told not to abstain.
    """
    base = Discovery(roots).base  # no file of a run names it
    with (out / "slices.csv").open(newline="", encoding="utf-8") as stream:
        return {
            os.path.realpath(os.path.join(base, unescape(row["path"]))): int(row["label"]) if row["label"] else None  # noqa: PTH118
            for row in read_rows(stream)
            if row["status"] != "excluded"
        }


def end_to_end(inputs: Inputs, scored: Scored, spec: dict[str, Any]) -> dict[str, Any]:
    """One end-to-end row over the very slices that were scored; `error` where the table has other classes."""
    with tempfile.TemporaryDirectory(prefix="lits-deploy-benchmark-") as temporary:
        files = list(inputs.files)
        if not files:  # the slices were made here
            (Path(temporary) / "scans").mkdir()
            for index, picture in enumerate(inputs.slices):
                files.append(Path(temporary) / "scans" / f"slice-{index:05d}.png")
                Image.fromarray(picture[0]).save(files[-1])
        out = Path(temporary) / "out"
        row = classify_fresh(spec, files, out)
        labels = read_labels(out, files)
    real = [os.path.realpath(file) for file in files]
    found = np.array([-1 if labels.get(path) is None else labels[path] for path in real])
    answered_here = np.array([path in labels for path in real])  # the others were excluded by an input gate
    wrong = int(((found != scored.classes) & scored.sure & answered_here).sum())
    error = f"{wrong} of {len(files)} slices have another class than in the accuracy run" if wrong else None
    return {**row, "error": error}
