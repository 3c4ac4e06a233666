"""How fast a bundle is on this machine, how right it is, and how both compare with the original.

The method stands in README.md of this folder. Nothing here imports torch at import: only modules of
`benchmarks.peers` speak PyTorch, and only when a run is given to compare with.
"""

from lits_deploy.exits import unless_linux

unless_linux()  # here: each `python -m benchmarks.…` comes by before it imports what other systems lack
