"""The gate of a precision: an artifact against the original on patients it has not seen, slice by slice, with limits.

limits       what an artifact may cost, by precision; flags override, the manifest records
comparison   figures of one artifact on one runtime, added up batch by batch
judge        original and all artifacts over the same slices in one pass; verdicts
report       flipped slices as CSV and contact sheet, beside the bundle and never in it
"""

from export.gate.judge import Candidate, Verdict, judge, judge_batch
from export.gate.limits import DEFAULTS, Limits, override

__all__ = ["DEFAULTS", "Candidate", "Limits", "Verdict", "judge", "judge_batch", "override"]
