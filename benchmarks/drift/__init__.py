"""How well a series, or a night, that is unlike the training data is told from one that is like it: by trial.

python -m benchmarks.drift.power DATA [--rounds 200] [--out FOLDER]    false alarms and planted shifts: a table
python -m benchmarks.drift.cost [--rounds 5]                           what looking at slices costs beside decoding
"""

from __future__ import annotations
