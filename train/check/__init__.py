"""What is wrong with a training data set: leaks, broken files, doubtful masks, a window that cannot be right.

    check_data(root)            → Report: table, figures, findings
    draw_montage(path, report)  a contact sheet with mask contours

Every rule is a module: `listing` (files and pairs), `examine` (one slice), `order`, `lesions`, `duplicates`,
`intensity`; `run` puts them together. Nothing here mends anything, and nothing imports torch. Limits were chosen by
measurement on 26 LiTS patients (4,471 slices) and 24 phantoms; each module says which.
"""

from train.check.findings import Finding
from train.check.montage import check_path, draw_montage
from train.check.report import CheckReport
from train.check.run import check_data

__all__ = ["CheckReport", "Finding", "check_data", "check_path", "draw_montage"]
