"""The edge runtime of lits-deploy: bundles, runtimes, the folder pipeline.

    import lits_deploy as ld

    with ld.Classifier("bundle") as clf:
        for answer in clf.predict(slices):      # uint8 or HU, [H, W] or [N, H, W]
            print(answer.class_name, answer.probabilities, answer.reason)

The names in `__all__` are the API (docs/python.md); each is imported when it is first used. Imports neither torch nor
onnx nor any inference library at import; each runtime is imported by the one module that speaks it. Not a medical
device, not for clinical use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lits_deploy.no_telemetry import switch_off as _switch_off_telemetry
from lits_deploy.release import DISCLAIMER, __version__

if TYPE_CHECKING:
    from lits_deploy.api.answers import MaskAnswer, MaskSeries, SeriesAnswer, SliceAnswer
    from lits_deploy.api.classifier import Classifier
    from lits_deploy.api.folders import classify_folder, scan, segment_folder
    from lits_deploy.api.segmenter import Segmenter
    from lits_deploy.api.tables import read_results
    from lits_deploy.bundle import Bundle
    from lits_deploy.errors import (
        BundleError,
        ContractError,
        DeviceError,
        LitsError,
        MissingExtra,
        OutputError,
        StorageError,
        UserError,
    )
    from lits_deploy.pipeline.options import ClassifyOptions, Progress, RunSummary
    from lits_deploy.pipeline.stop import Stop
    from lits_deploy.scans import Reading
    from lits_deploy.scans.survey import Survey
    from lits_deploy.segmentation.run import SegmentSummary

__all__ = [
    "DISCLAIMER",
    "Bundle",
    "BundleError",
    "Classifier",
    "ClassifyOptions",
    "ContractError",
    "DeviceError",
    "LitsError",
    "MaskAnswer",
    "MaskSeries",
    "MissingExtra",
    "OutputError",
    "Progress",
    "Reading",
    "RunSummary",
    "SegmentSummary",
    "Segmenter",
    "SeriesAnswer",
    "SliceAnswer",
    "Stop",
    "StorageError",
    "Survey",
    "UserError",
    "__version__",
    "classify_folder",
    "read_results",
    "scan",
    "segment_folder",
]

_IN = {
    "lits_deploy.api.answers": ("MaskAnswer", "MaskSeries", "SeriesAnswer", "SliceAnswer"),
    "lits_deploy.api.classifier": ("Classifier",),
    "lits_deploy.api.folders": ("classify_folder", "scan", "segment_folder"),
    "lits_deploy.api.segmenter": ("Segmenter",),
    "lits_deploy.api.tables": ("read_results",),
    "lits_deploy.bundle": ("Bundle",),
    "lits_deploy.errors": (
        "BundleError",
        "ContractError",
        "DeviceError",
        "LitsError",
        "MissingExtra",
        "OutputError",
        "StorageError",
        "UserError",
    ),
    "lits_deploy.pipeline.options": ("ClassifyOptions", "Progress", "RunSummary"),
    "lits_deploy.pipeline.stop": ("Stop",),
    "lits_deploy.scans": ("Reading",),
    "lits_deploy.scans.survey": ("Survey",),
    "lits_deploy.segmentation.run": ("SegmentSummary",),
}
"""Module → the names of the API in it."""

_HOME = {name: module for module, names in _IN.items() for name in names}


if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """A name of the API, when it is first used: `import lits_deploy` loads neither numpy nor a runtime."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(importlib.import_module(_HOME[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_switch_off_telemetry()  # here: every process of ours, children included, imports this package before any library
