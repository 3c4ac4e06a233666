"""The edge runtime of lits-deploy: bundles, runtimes, the folder pipeline.

Imports neither torch nor onnx nor any inference library at import; each runtime is imported by the one module
that speaks it. Not a medical device, not for clinical use.
"""

from lits_deploy.no_telemetry import switch_off as _switch_off_telemetry

__version__ = "0.1.0"

DISCLAIMER = "Not a medical device, not for clinical use."

_switch_off_telemetry()  # here: every process of ours, children included, imports this package before any library
