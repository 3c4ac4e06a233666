"""`lits-deploy data`: make, prepare and check training data. One module a command."""

from lits_deploy.cli.lazy import group

COMMANDS = {
    "phantom": ("train.cli.data.phantom", "Write synthetic CT slices, volumes or DICOM series with masks."),
    "prepare": (
        "train.cli.data.prepare",
        "Turn LiTS volumes, lits-png, MSD or image and mask folders into the training layout.",
    ),
    "check": ("train.cli.data.check", "Look for leaks, broken files and doubtful masks in a data set."),
}

app = group(COMMANDS, "Make, prepare and check training data.")
