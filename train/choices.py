"""What commands may be asked for in words, where the packages that act on it import more than a command's help needs.

Those of a training run stand in `train.config`.
"""

from typing import Literal

OnOff = Literal["auto", "on", "off"]
Format = Literal["slices", "nifti", "dicom"]
"""How phantoms are written."""
LayoutName = Literal["lits", "lits-png", "msd", "masks"]
"""Which raw data is prepared (`train.prepare.sources`)."""
SplitBy = Literal["patient", "slice"]
Budget = Literal["v100", "minutes"]
"""Of Table 8: the epochs that the thesis's V100 does in its minutes, or minutes here."""
