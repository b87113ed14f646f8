"""The mirror in W&B on the command line: the options of a study's command, and `segsweep wandb sync`."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from segsweep.errors import UserError
from segsweep.records.lines import read_study
from segsweep.records.wandb.options import FOLDER, LOG, MODES, MirrorOptions, check_key
from segsweep.records.wandb.process import sync

SWITCH = {"on": True, "off": False}


def add_mirror_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add what a mirror may be asked; `default` None leaves it to what the study was mirrored with before."""
    group = parser.add_argument_group("mirror in Weights & Biases (sent by a process of its own; the study never waits for it)")
    add = group.add_argument
    kept = " (default: as before)" if default is None else ""
    modes = MODES if default is not None else MODES[1:]
    mode = "online, or offline: into files for `wandb sync`"
    add("--wandb", choices=modes, default=default, help=f"{mode} (default: {default or 'online'})")
    add("--wandb-project", metavar="[ENTITY/]PROJECT", help="where to (default: WANDB_ENTITY and WANDB_PROJECT, or segsweep)")
    add("--wandb-images", choices=SWITCH, help="send example predictions, figures and clips" + (kept or " (default: on)"))
    add("--wandb-weights", choices=SWITCH, help="send weights of stages and confirmed runs" + (kept or " (default: on)"))


def mirror_options(options: argparse.Namespace, before: MirrorOptions) -> MirrorOptions:
    """Return what the command line asks of a mirror, and where it is silent what was asked `before`."""
    asked: dict[str, Any] = {
        "mode": options.wandb,
        "project": options.wandb_project,
        "images": SWITCH.get(options.wandb_images),
        "weights": SWITCH.get(options.wandb_weights),
    }
    return replace(before, **{name: value for name, value in asked.items() if value is not None})


def sync_study(study: Path, options: argparse.Namespace, console: Console) -> None:
    """Send what W&B does not have of a study, and exit with 1 where something could not be sent."""
    if not (study / "study.json").is_file():
        raise UserError(f"{study}: holds no study (no study.json)")
    read_study(study)
    asked = mirror_options(options, replace(MirrorOptions.kept(study), mode="online"))
    if asked.mode == "online":
        check_key()
    with console.status(f"sending {study} to W&B") as status:

        def tell(state: Mapping[str, Any]) -> None:
            status.update(f"sending {study} to W&B: {state.get('sent', 0)} trials and stages are there")

        state = sync(study, asked, tell)
    if not state.get("done"):
        console.print(
            f"{state.get('sent', 0)} trials and stages are there; then: {state.get('trouble') or 'the client died'} "
            f"(log: {study / FOLDER / LOG}). The same command goes on.",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(1)
    where = state.get("url") or f"{asked.path}" if asked.mode == "online" else f"files in {study / FOLDER}, for `wandb sync`"
    print(f"{state['sent']} trials and stages of {study}: all in {where}")
