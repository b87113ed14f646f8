"""The W&B options of a study's command and of `segsweep wandb sync`."""

import argparse
from dataclasses import replace
from typing import Any

from segsweep.records.wandb.options import MODES, MirrorOptions

SWITCH = {"on": True, "off": False}


def add_mirror_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the options of a mirror. If `default` is None, the defaults are the options of the study's last mirror."""
    group = parser.add_argument_group("mirror in Weights & Biases (a separate process sends it; training never waits)")
    add = group.add_argument
    kept = " (default: as last time)" if default is None else ""
    modes = MODES if default is not None else MODES[1:]
    mode = "online: send records to W&B; offline: write files for `wandb sync`"
    add("--wandb", choices=modes, default=default, help=f"{mode} (default: {default or 'online'})")
    add(
        "--wandb-project",
        metavar="[ENTITY/]PROJECT",
        help="entity and project (default: WANDB_ENTITY and WANDB_PROJECT, or segsweep)",
    )
    add("--wandb-images", choices=SWITCH, help="send example predictions, figures and clips" + (kept or " (default: on)"))
    add("--wandb-weights", choices=SWITCH, help="send the weights of stages and confirmed runs" + (kept or " (default: on)"))


def mirror_options(options: argparse.Namespace, before: MirrorOptions) -> MirrorOptions:
    """Return the options of a mirror from the command line; options that it omits are taken from `before`."""
    asked: dict[str, Any] = {
        "mode": options.wandb,
        "project": options.wandb_project,
        "images": SWITCH.get(options.wandb_images),
        "weights": SWITCH.get(options.wandb_weights),
    }
    return replace(before, **{name: value for name, value in asked.items() if value is not None})
