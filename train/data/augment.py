"""The thesis's augmentation (Section 5.2): flips with p = 0.5, colour jitter, random crop; and others beside it.

torchvision's v2 transforms on uint8, so that training sees the same rounding as a picture file.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


@dataclass(frozen=True)
class Augment:
    """Flips, brightness and contrast jitter, small turns and zooms, and for classifiers a random crop.

    crop: side in pixels, None for U-Net (whole slices). jitter: relative range of brightness and contrast; the thesis
    gives none, ±0.2 is our choice (hue and saturation do nothing to grey). flips: off, left stays left, which tells
    a short training the liver from the spleen. turn: largest rotation in degrees; zoom: largest relative change of
    size; both 0 in the thesis.
    """

    crop: int | None
    jitter: float = 0.2
    flips: bool = True
    turn: float = 0.0
    zoom: float = 0.0

    def __call__(self, image: Tensor, mask: Tensor | None, *, seed: int) -> tuple[Tensor, Tensor | None]:
        """Transform one uint8 [C, H, W] and its label map [H, W] together; same seed, same result."""
        steps: list[v2.Transform] = [v2.Identity()]
        if self.flips:
            steps += [v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5)]
        if self.turn or self.zoom:
            scale = (1.0 - self.zoom, 1.0 + self.zoom)
            steps.append(v2.RandomAffine(self.turn, scale=scale, interpolation=v2.InterpolationMode.BILINEAR))
        if self.jitter:
            steps.append(v2.ColorJitter(brightness=self.jitter, contrast=self.jitter))
        if self.crop is not None:
            steps.append(v2.RandomCrop(self.crop))
        transform = v2.Compose(steps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if mask is None:
                return transform(image), None
            out, label = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return out.as_subclass(Tensor), label.as_subclass(Tensor)
