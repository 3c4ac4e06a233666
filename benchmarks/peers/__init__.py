"""What we are measured against: each library as its own users would write it. `python -m benchmarks.peers` runs them.

`torch_scripts` and `ultralytics_script` import torch; nothing else here does.
"""
