"""`segsweep wandb sync`: send a study's records to W&B."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from segsweep.cli.mirror_options import mirror_options
from segsweep.errors import UserError
from segsweep.records.find import find_study
from segsweep.records.lines import read_study
from segsweep.records.wandb.account import check_key
from segsweep.records.wandb.options import FOLDER, MirrorOptions
from segsweep.records.wandb.process import sync
from segsweep.records.wandb.state import LOG


def sync_study(options: argparse.Namespace, console: Console) -> None:
    """Send the records of a study that W&B lacks. Exit with 1 if some could not be sent."""
    study = find_study(options.study).absolute()
    if not (study / "study.json").is_file():
        raise UserError(f"{study}: holds no study (no study.json)")
    read_study(study)
    asked = mirror_options(options, replace(MirrorOptions.saved(study), mode="online"))
    if asked.mode == "online":
        check_key()
    online = asked.mode == "online"
    doing, done = (f"sending {study} to W&B", "sent") if online else (f"writing W&B's files of {study}", "written")
    with console.status(Text(doing)) as status:

        def show_state(state: Mapping[str, Any]) -> None:
            status.update(Text(f"{doing}: {state.get('sent', 0)} trials and stages {done}"))

        state = sync(study, asked, show_state)
    if not state.get("done"):
        console.print(
            f"{state.get('sent', 0)} trials and stages {done}; then: {state.get('trouble') or 'the client died'} "
            f"(log: {study / FOLDER / LOG}). The same command continues.",
            soft_wrap=True,
        )
        sys.exit(1)
    destination = f"to {state.get('url') or asked.path}" if online else f"as files in {study / FOLDER}, for `wandb sync`"
    print(f"{state['sent']} trials and stages of {study}: all {done} {destination}")
