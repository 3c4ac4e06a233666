"""The edge runtime of lits-deploy: bundles, runtimes, the folder pipeline.

Imports neither torch nor onnx nor any inference library at import; each runtime is imported by the one module
that speaks it. Not a medical device, not for clinical use.
"""

__version__ = "0.1.0"

DISCLAIMER = "Not a medical device, not for clinical use."
