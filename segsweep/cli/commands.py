"""The `segsweep` command: one row of `COMMANDS` per command.

Nothing at the top of this file imports torch or pandas: a command's module is imported when the command runs.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from segsweep.cli.command_options import (
    add_completion_options,
    add_datasets_options,
    add_export_options,
    add_fetch_options,
    add_init_options,
    add_models_options,
    add_predict_options,
    add_prepare_options,
    add_report_options,
    add_settings_options,
    add_sql_options,
    add_status_options,
    add_studies_options,
    add_verify_options,
    add_wandb_sync_options,
)
from segsweep.cli.exits import announce_start, exit_codes
from segsweep.console import error_console
from segsweep.version import versions

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Command:
    """A command of `segsweep`.

    `function` is `MODULE:FUNCTION` in `segsweep.cli`; the function takes the parsed options and the console for messages.
    `loads_torch` announces the start, which then takes seconds. `continues` states that the same command, started again after
    an interruption, continues its work.
    """

    name: str
    function: str
    add_options: Callable[[argparse.ArgumentParser], None]
    help: str
    example: str
    loads_torch: bool = False
    continues: bool = False

    def run(self, options: argparse.Namespace, console: "Console") -> None:
        """Import the command's module and run the command."""
        if self.loads_torch:
            announce_start(console)
        module, _, function = self.function.partition(":")
        getattr(import_module(f"segsweep.cli.{module}"), function)(options, console)


COMMANDS = (
    Command(
        "init",
        "init:init",
        add_init_options,
        "Write a study file to edit, for a folder of images.",
        "init street --target ~/street",
    ),
    Command(
        "datasets",
        "datasets:list_datasets",
        add_datasets_options,
        "List the known datasets, their layouts, and which of them are found.",
        "datasets --data ~/data",
    ),
    Command(
        "models",
        "models:models",
        add_models_options,
        "List architectures with their parameters and multiply-adds.",
        "models --classes 3 --freeze encoder",
        loads_torch=True,
    ),
    Command(
        "settings",
        "settings:settings",
        add_settings_options,
        "List every setting with its default, its allowed values and its meaning.",
        "settings learning_rate",
    ),
    Command(
        "prepare",
        "datasets:prepare_datasets",
        add_prepare_options,
        "Decode datasets into the store, and check their images and masks.",
        "prepare pets coco --data ~/data --image-px 96",
        loads_torch=True,
        continues=True,
    ),
    Command(
        "fetch",
        "fetch_script:fetch_script",
        add_fetch_options,
        "Download the published weights and datasets that a study needs, for machines without a network.",
        "fetch sweeps/transfer_grid.py --data ~/data",
        continues=True,
    ),
    Command(
        "verify",
        "verify:verify",
        add_verify_options,
        "Compare a store, and the records of studies, with their checksums.",
        "verify runs/transfer_grid",
        loads_torch=True,
    ),
    Command(
        "status",
        "status:show_status",
        add_status_options,
        "Print the progress of a study, while it runs or afterwards, on any machine that can read its folder.",
        "status runs/transfer_grid --follow",
    ),
    Command(
        "studies", "studies:list_studies", add_studies_options, "List the studies of a folder and their progress.", "studies runs"
    ),
    Command(
        "report",
        "report:report",
        add_report_options,
        "Print a study's table, and write its page (report.html), table and predictions into its folder; or compare studies.",
        "report runs/transfer_grid",
    ),
    Command(
        "sql",
        "sql:sql",
        add_sql_options,
        "Run an SQL query on the records of studies: tables trials, epochs, images, counts, stages, confusions.",
        """sql "select source, avg(test_iou) from trials where phase='confirm' group by 1" runs/transfer_grid""",
    ),
    Command(
        "export",
        "export:export",
        add_export_options,
        "Write a study's best model for plain torch, or its records for another tool.",
        "export runs/transfer_grid --best best_model; segsweep export runs/transfer_grid --to optuna",
    ),
    Command(
        "wandb sync",
        "mirror:sync_study",
        add_wandb_sync_options,
        "Send the trials, stages, images, models and tables of a study that W&B lacks. Nothing is sent twice.",
        "wandb sync runs/transfer_grid --wandb-project lab/pets",
        continues=True,
    ),
    Command(
        "predict",
        "predict:predict",
        add_predict_options,
        "Apply a study's best confirmed run to your images: writes masks, overlays, and the share of each class.",
        "predict runs/transfer_grid --images ~/photos --out predicted",
        loads_torch=True,
    ),
    Command(
        "completion",
        "completion:print_completion",
        add_completion_options,
        "Print a shell script that completes this command.",
        "completion bash",
    ),
)
GROUPS = {"wandb": ("Send a study's records to Weights & Biases.", "wandb sync runs/transfer_grid")}


def command_line(arguments: Sequence[str] | None = None) -> None:
    """Run the `segsweep` command and exit. A mistake of the user is reported in one line on stderr, with exit code 2."""
    options = command_parser().parse_args(arguments)
    command: Command = options.command
    console = error_console()
    given = sys.argv[1:] if arguments is None else arguments
    with exit_codes(console, lambda _: _interrupted(command, given)):
        command.run(options, console)


def _interrupted(command: Command, arguments: Sequence[str]) -> str:
    """Return the last line of an interrupted command."""
    continues = f"; everything so far is kept. To continue: segsweep {shlex.join(arguments)}"
    return "interrupted" + (continues if command.continues else "")


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the `segsweep` command. Its result has the `command` and the `parser` itself."""
    parser = argparse.ArgumentParser(
        prog="segsweep",
        description="Transfer-learning studies for semantic segmentation.",
        epilog="Start with: segsweep init NAME. README.md and sweeps/README.md describe studies.",
    )
    parser.add_argument("--version", action="version", version=versions())
    parser.set_defaults(parser=parser)
    groups = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group not in groups:
            groups[group] = _add(groups[""], group, *GROUPS[group]).add_subparsers(required=True, metavar="COMMAND")
        added = _add(groups[group], name, command.help, command.example)
        added.set_defaults(command=command)
        command.add_options(added)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=text, epilog=f"example: segsweep {example}")
