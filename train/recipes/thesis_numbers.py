"""Every number that the thesis prints in a table (and those of its text that a recipe needs), as printed.

O. Bakumenko, Residual Neural Networks for Medical Image Processing, University of Duisburg-Essen, 2023. Misprints are
kept; what is wrong about them is said in the words beside them, and shown by the recipes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TABLE1: Final[dict[str, tuple[int, float, tuple[int, int, int], tuple[float, float, float]]]] = {
    "train": (35_484, 85.38, (24_274, 7_085, 4_125), (68.41, 19.97, 11.62)),
    "validate": (3_039, 7.31, (2_087, 490, 461), (68.70, 16.13, 15.17)),
    "test": (3_038, 7.30, (1_838, 837, 363), (60.50, 27.55, 11.95)),
}
"""Split: slices, share of all in %, slices of class 0, 1, 2, their shares in %."""

TABLE1_TOTAL: Final = 41_561
TABLE1_MISPRINT: Final = (
    "Validate: the printed classes add up to 3,038, not to the printed 3,039, and the printed percentages are those of "
    "3,038."
)

TABLE3: Final = ("conv11-96", "pool", "conv5-256", "pool", "conv3-384 × 3", "pool", "FC × 3")
_CONVOLUTIONS = ("64 × 2", "128 × 2", "256 × 4", "512 × 4", "512 × 4")
TABLE4: Final = (*(layer for text in _CONVOLUTIONS for layer in (f"conv3-{text}", "pool")), "FC × 3")

STAGES: Final = ("conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x")
TABLE5_SIZES: Final = (110, 54, 27, 14, 7)
_BASIC, _BOTTLENECK = "3×3, {0}; 3×3, {0}", "1×1, {0}; 3×3, {0}; 1×1, {1}"
TABLE5_BLOCKS: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    name: tuple((block.format(c, 4 * c), count) for c, count in zip((64, 128, 256, 512), counts, strict=True))
    for name, block, counts in (
        ("resnet18", _BASIC, (2, 2, 2, 2)),
        ("resnet34", _BASIC, (3, 4, 6, 3)),
        ("resnet50", _BOTTLENECK, (3, 4, 6, 3)),
        ("resnet152", _BOTTLENECK, (3, 8, 36, 3)),
    )
}
"""Block and how many of them in conv2_x … conv5_x."""

TABLE5_PARAMETERS: Final = {"resnet18": "11.1766", "resnet34": "21.2799", "resnet50": "23.5080", "resnet152": "58.1437"}
"""Millions, with the digits printed."""


class Table6(NamedTuple):
    """Parameters in millions, with the digits printed; seconds an epoch, on a V100 with 16 GB; test accuracy, %."""

    parameters: str
    seconds: float
    accuracy: float


TABLE6: Final = {
    "alexnet": Table6("46.736", 36.46, 83.54),
    "resnet18": Table6("11.1176", 50.67, 98.35),
    "resnet34": Table6("21.2799", 69.98, 94.8),
    "resnet50": Table6("23.5080", 119.28, 98.39),
    "resnet152": Table6("58.1437", 267.67, 82.52),
    "vgg19": Table6("139.5814", 200.83, 98.35),
}

TABLE6_MISPRINT: Final = (
    "ResNet18's parameters are 11.1766 million in Table 5 and 11.1176 in Table 6: two digits are swapped. 11,176,579 "
    "agrees with Table 5."
)
TABLE6_RESNET152: Final = (
    "Table 6 gives ResNet152 82.52 %, which Section 5.3 reports for the Kaiming-initialised run: that run stands here."
)

TABLE7: Final = (
    (43.88, 47.14, 51.22, 71.43, 54.9, 67.55, 48.78, 85.51),
    (62.26, 70.07, 65.73, 42.95, 60.95, 45.77, 72.89, 36.44),
)
"""Validation accuracy in % of target 1 and target 2: of epochs 7 to 15, which are nine, in eight columns."""

TABLE7_CORRELATION: Final = -0.1674841995537894
"""Pearson's, of the two accuracies over all 30 epochs of Figure 18."""

TABLE8_LIMITS: Final = (10, 15, 20)
"""Minutes."""

TABLE8: Final[dict[float, dict[str, tuple[float, float, float]]]] = {
    1e-3: {
        "alexnet": (68.70, 68.70, 68.70),
        "resnet18": (98.06, 98.12, 97.73),
        "resnet34": (89.30, 93.15, 95.52),
        "resnet50": (90.95, 94.21, 93.98),
    },
    1e-4: {
        "alexnet": (80.09, 80.58, 81.27),
        "resnet18": (97.76, 97.83, 98.55),
        "resnet34": (97.20, 96.68, 97.24),
        "resnet50": (95.00, 96.94, 97.10),
    },
    1e-5: {
        "alexnet": (78.97, 80.88, 80.68),
        "resnet18": (86.18, 91.94, 94.01),
        "resnet34": (88.31, 82.26, 92.33),
        "resnet50": (69.03, 76.00, 78.24),
    },
}
"""Learning rate, network: accuracy in % after each limit."""

TABLE8_MISPRINT: Final = (
    "Table 8 is headed test accuracy, but Figure 23, of the same runs, says validation, and AlexNet's 68.70 % is the "
    "share of class 0 in validate (2,087 of 3,038); on test, always answering class 0 gives 60.50 %. So the printed "
    "figures are taken as those on validate."
)

TABLE9: Final = (
    (99.44, 98.88, 72.63, 57.82, 29.23, 18.18),
    (99.61, 99.23, 80.47, 68.69, 46.55, 32.54),
    (99.72, 99.45, 85.21, 75.57, 65.32, 53.03),
    (99.88, 99.77, 91.14, 84.63, 70.34, 57.7),
    (99.9, 99.8, 93.24, 87.58, 76.48, 64.39),
    (99.91, 99.82, 93.38, 88.17, 71.96, 59.18),
)
"""Epoch 0 … 5: Dice 0, IoU 0, Dice 1, IoU 1, Dice 2, IoU 2 on validate, %."""

TABLE9_SECONDS: Final = 460.0
"""Seconds an epoch of the U-Net, about."""

KAIMING_TEST: Final = {"resnet152": 82.52, "alexnet": 95.85}
"""Test accuracy in % of the Kaiming-initialised runs (Section 5.3); the default AlexNet's is Table 6's 83.54."""

SADDLE: Final = 68.7
"""Validation accuracy in % that AlexNet stays at with learning rate 1e-3: all answers are class 0."""

FIG6: Final = {"alexnet": "about 84", "resnet34": "over 98", "resnet34-plain": "no number"}
"""What Section 4.6 says of the highest validation accuracies, %."""

NAMES: Final = {
    "alexnet": "AlexNet",
    "vgg19": "VGG19",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "resnet152": "ResNet152",
    "resnet34-plain": "ResNet34 plain",
    "resnet34-tied": "ResNet34 tied",
    "unet": "U-Net",
}
"""The networks as the thesis writes them."""
