"""All that the library writes of patients, once: for tests of who may read it. Run as a program under a umask of 0.

python every_output.py FOLDER        FOLDER is made; results go to FOLDER/out-*
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from folder_runs import SIZE, classify
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.report.after import reporter
from lits_deploy.report.redraw import redraw
from masked import make_unet, segment
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle
from watching import Watched, nothing
from worlds import Series

KINDS = ("csv", "parquet", "jsonl")


def make_inputs(folder: Path) -> tuple[Bundle, Bundle]:
    """Scans and bundles below a new folder: a classifier, and a U-Net."""
    folder_of_slices(folder / "pictures" / "Miller", 3, size=SIZE)
    Series(name="ct", count=3, step=2.0).write(folder / "series")
    return make_tiny_bundle(folder / "bundle", size=SIZE, crop=56), make_unet(folder / "unet")


def write_everything(folder: Path, bundle: Bundle, unet: Bundle, **options: Any) -> list[Path]:
    """Classify, segment, watch and draw again; the output folders. options: of every run."""
    outs = [folder / f"out-{name}" for name in ("classify", "apart", "ledger", "segment", "watch")]
    plain, apart, ledger, masks, watched = outs
    page = reporter(bundle, ClassifyOptions())
    classify(bundle, folder / "pictures", plain, salt=None, workers=1, formats=KINDS, finish=page, **options)
    redraw(plain, formats=KINDS)
    classify(bundle, folder / "pictures", apart, salt=None, workers=1, ledger=ledger, **options)
    segment(unet, folder / "series", masks, "png", "nifti", salt=None, formats=KINDS, **options)
    watching = ClassifyOptions(workers=1, **options)
    Watched(bundle, folder / "pictures", watched, (60.0, nothing), options=watching, finish=page)
    return outs


if __name__ == "__main__":
    os.umask(0)
    write_everything(Path(sys.argv[1]), *make_inputs(Path(sys.argv[1])))
