"""The gate of a precision: an artifact against the original on patients it has not seen, slice by slice, with limits.

limits       what an artifact may cost, by precision; flags override, the manifest records
comparison   original and all artifacts over the same slices in one pass: figures added up batch by batch; verdicts
report       flipped slices as CSV and contact sheet, beside the bundle and never in it
"""

from export.gate.comparison import CandidateArtifact, GateVerdict, check_candidates, gate_batch
from export.gate.limits import DEFAULTS, GateLimits, override

__all__ = ["DEFAULTS", "CandidateArtifact", "GateLimits", "GateVerdict", "check_candidates", "gate_batch", "override"]
