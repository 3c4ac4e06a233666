"""`lits-deploy bundle`: look into a bundle, pair, pack, unpack or upgrade it. One module a command."""

from lits_deploy.cli.lazy import group

COMMANDS = {
    "inspect": ("lits_deploy.cli.bundle.inspect", "What a stranger would ask of a bundle, on one screen."),
    "pair": ("export.cli.pair", "One bundle of a classifier and a U-Net that decide together."),
    "pack": ("lits_deploy.cli.bundle.pack", "One zip file with the same hashes."),
    "unpack": ("lits_deploy.cli.bundle.unpack", "A bundle from its zip file, checked."),
    "upgrade": ("lits_deploy.cli.bundle.upgrade", "A bundle of an older schema, written in today's."),
}

app = group(COMMANDS, "Look into a bundle, pair two, pack, unpack or upgrade one.")
