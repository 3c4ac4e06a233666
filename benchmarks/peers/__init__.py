"""What we are measured against: each library as its own users would write it. `python -m benchmarks.peers` runs them.

`torch_*`, `timm_script`, `ultralytics_script` and `random_networks` import torch; nothing else here does.
"""
