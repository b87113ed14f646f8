"""The command line of a study script: `main(study)`.

Nothing here imports torch, ray or pandas: arguments are read, and mistakes in them are reported, before that takes seconds.
`study_command` does the work.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segsweep.cli.continuing import how_to_continue
from segsweep.cli.exits import announce_start, exit_codes
from segsweep.cli.mirror_options import add_mirror_options, mirror_options
from segsweep.config.narrow import narrow
from segsweep.config.study import Study
from segsweep.console import error_console
from segsweep.errors import UserError
from segsweep.records.wandb.options import MirrorOptions
from segsweep.sweep.options import Options, command_line_options
from segsweep.version import versions

if TYPE_CHECKING:
    from rich.console import Console

    from segsweep.data.table import DataRoots

Presets = Mapping[str, Sequence[str]]
StandIns = Mapping[str, Sequence[str]]


def main(
    study: Study,
    *,
    demo: Study | None = None,
    as_published: Study | None = None,
    presets: Presets | None = None,
    stand_ins: StandIns | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run a study script's command line and exit.

    `demo` and `as_published` are the studies that `--demo` and `--as-published` run instead; `presets` maps names to `--set`
    texts; `stand_ins` maps sources to those that take their place where their data are not at hand, in the order in which
    they are tried, unless the run is `as_published` or `--set source=...` chooses. A user's mistake is one line on stderr and
    exit code 2; a rehearsal with failures, and a study with a cell without result, exits with 1; a request to end (Ctrl-C,
    TERM, HUP, a Ray cluster that has gone) with 130; a full disk or a lost store with 75, where `--wait-minutes` are over or
    nothing had begun.
    """
    instead = {"demo": demo, "as_published": as_published}
    options = _parser(study, instead, presets or {}).parse_args(arguments)
    console = error_console()
    with exit_codes(console, how_to_continue):
        sys.exit(_run(_chosen(study, instead, options), presets or {}, stand_ins or {}, options, console))


def _chosen(study: Study, instead: Mapping[str, Study | None], options: argparse.Namespace) -> Study:
    """Return the study that the command line asks for."""
    asked = [other for name, other in instead.items() if other is not None and getattr(options, name)]
    if len(asked) > 1:
        raise UserError("--demo and --as-published: give one of the two")
    return asked[0] if asked else study


def _parser(study: Study, instead: Mapping[str, Study | None], presets: Presets) -> argparse.ArgumentParser:
    script = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog=script,
        description=f"Run the study {study.name}: {len(list(study.cells()))} cells on {study.target_name}.",
        epilog=f"example: python {script} --data ~/data --set fraction=0.5,1.0 --set epochs=2 --set seeds=1",
    )
    add = parser.add_argument
    add("--version", action="version", version=versions())
    if instead["demo"] is not None:
        add("--demo", action="store_true", help="run small, on images generated on the spot")
    if instead["as_published"] is not None:
        add(
            "--as-published",
            action="store_true",
            help="run the paper's runs with its settings; the script's docstring lists deviations",
        )
    add(
        "--data",
        action="append",
        default=[],
        metavar="ROOT|NAME=PATH",
        help="folder of datasets, or path of one dataset; repeatable",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="narrow or change an axis or a setting; repeatable",
    )
    add("--preset", choices=sorted(presets), help="apply one of this study's named lists of --set") if presets else None
    add("--plan", action="store_true", help="print what would run, and run nothing")
    add("--json", action="store_true", help="with --plan: print one JSON object")
    add("--check", action="store_true", help="rehearse two batches of every cell, and keep nothing")
    add("--fetch", action="store_true", help="download the weights and datasets of the study, and run nothing: segsweep fetch")
    add("--out", default="runs", metavar="DIR", help="folder of studies (default: runs)")
    add("--store", metavar="DIR", help="folder of artifacts, shared by all studies (default: store, beside --out)")
    add("--name", metavar="NAME", help="run the study under another name, in another folder: a variant")
    add("--retry-failed", action="store_true", help="run again what failed")
    group = parser.add_argument_group(
        "runner, device and workers (default: Ray, on all cores and GPUs of the cluster or this machine)"
    )
    for flag, keywords in command_line_options():
        group.add_argument(flag, **keywords)
    add_mirror_options(parser, default="off")
    return parser


def _run(study: Study, presets: Presets, stand_ins: StandIns, options: argparse.Namespace, console: "Console") -> int:
    """Check what needs no torch, then do what the command line asks for, and return the exit code."""
    if options.json and not options.plan:
        raise UserError("--json: goes with --plan")
    if sum([options.check, options.plan, options.fetch]) > 1:
        raise UserError("--plan, --check and --fetch: give one of the three")
    mirror = mirror_options(options, MirrorOptions())
    run_options = Options(**{name: getattr(options, name) for name in Options.__dataclass_fields__})
    preset = getattr(options, "preset", None)
    chosen = list(presets[preset]) if preset else []
    narrowed = narrow(narrow(study, chosen), options.set)

    from segsweep.sweep.folders import Folders  # loads numpy

    if options.fetch:
        announce_start(console)
        from segsweep.cli.fetch import fetch  # loads torch
        from segsweep.data.table import DataRoots

        return fetch(narrowed, DataRoots.parse(options.data), console)
    folders = Folders.make(options.out, options.store, options.data)
    study, remarks = _fit_to_data(narrowed, [*chosen, *options.set], stand_ins, options, folders.roots)
    if options.name is not None:
        study = replace(study, name=options.name)
    for line in remarks:
        console.print(line, soft_wrap=True)
    announce_start(console, "torch and ray" if run_options.runner == "ray" and not options.plan else "torch")

    from segsweep.cli import study_command  # loads torch

    if options.plan:
        return study_command.plan(study, folders, run_options, mirror, console, options.retry_failed, as_json=options.json)
    if options.check:
        return study_command.rehearse(study, folders, run_options, mirror, console)
    return study_command.run(study, folders, run_options, mirror, console, options.retry_failed)


def _fit_to_data(
    study: Study, narrowing: Sequence[str], stand_ins: StandIns, options: argparse.Namespace, roots: "DataRoots"
) -> tuple[Study, list[str]]:
    """Return a study that fits the data at hand, and lines that tell how it was changed."""
    from segsweep.cli.stand_ins import with_class_map_of_target, with_stand_ins

    named = {text.partition("=")[0].strip() for text in narrowing}
    remarks: list[str] = []
    if "target" in named:
        study, remarks = with_class_map_of_target(study, roots)
    if "source" not in named and not getattr(options, "as_published", False):
        study, more = with_stand_ins(study, stand_ins, roots)
        remarks += more
    return study, remarks
