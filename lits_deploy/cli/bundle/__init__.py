"""`lits-deploy bundle`: look into a bundle, pair, pack, unpack or upgrade it. One module a command."""

from lits_deploy.cli.lazy import group

COMMANDS = {
    "inspect": ("lits_deploy.cli.bundle.inspect", "Show what a bundle is and how good it is, on one screen."),
    "pair": ("export.cli.pair", "Join a classifier and a U-Net that decide together."),
    "pack": ("lits_deploy.cli.bundle.pack", "Pack a bundle into one zip file."),
    "unpack": ("lits_deploy.cli.bundle.unpack", "Unpack a bundle from its zip file, and check it."),
    "upgrade": ("lits_deploy.cli.bundle.upgrade", "Rewrite a bundle of an older schema in today's."),
}

app = group(COMMANDS, "Look into a bundle, pair two, pack, unpack or upgrade one.")
