"""What the bundle is measured against. `torch_eager` and `plain_pytorch_script` import torch; nothing else does."""
