"""Raw CT data sets into the training layout: LiTS and MSD volumes, the Kaggle PNGs, plain image and mask folders.

    prepare(src, out, PrepareSettings(layout="lits", window_hu=(-160, 240)))

Which files belong together (`sources`, `folders`), one patient's slices (`volume`, `pictures`), how they lie
(`orientation`), one patient written (`convert`), the split (`split`), going on after an interruption (`state`), tables
that are not believed (`flags`), and the whole (`run`). Trains nothing and checks no data set: `lits-deploy data check`.
"""

from train.prepare.run import PreparedData, prepare
from train.prepare.settings import PrepareSettings, parse_fractions

__all__ = ["PrepareSettings", "PreparedData", "parse_fractions", "prepare"]
