"""The command line of a study script: `main(study)`.

This module does not import torch, ray or pandas, which takes seconds, so that arguments are parsed and mistakes in them are
reported at once. `study_command` executes the command.
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
from segsweep.cli.search_options import add_search_options, with_search
from segsweep.config.narrow import narrow
from segsweep.config.study import Study
from segsweep.console import error_console
from segsweep.errors import UserError
from segsweep.records.wandb.options import MirrorOptions
from segsweep.sweep.options import LIMITS, Options, command_line_options
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
    """Run the command line of a study script, and exit.

    Exit codes: 0 for success; 1 for a rehearsal with failures or a cell without a result; 2 for a mistake of the user, with one
    line on stderr; 75 for a full disk or a lost store, after `--wait-minutes` or before any work; 130 for a request to end
    (Ctrl-C, TERM, HUP, or a Ray cluster that has gone).

    Args:
        study: The study of the script.
        demo: The study that `--demo` runs instead.
        as_published: The study that `--as-published` runs instead.
        presets: For each name that `--preset` accepts, a list of `--set` texts.
        stand_ins: For a source, the substitutes to use if its data is not available, in order of preference. They are ignored
            with `--as-published` and with `--set source=...`.
        arguments: The arguments of the command line; by default those of this process.
    """
    instead = {"demo": demo, "as_published": as_published}
    options = _parser(study, instead, presets or {}).parse_args(arguments)
    console = error_console()
    with exit_codes(console, how_to_continue):
        sys.exit(_run(_chosen(study, instead, options), presets or {}, stand_ins or {}, options, console))


def _chosen(study: Study, instead: Mapping[str, Study | None], options: argparse.Namespace) -> Study:
    """Return the study that the command line selects."""
    asked = [other for name, other in instead.items() if other is not None and getattr(options, name)]
    if len(asked) > 1:
        raise UserError("--demo and --as-published exclude each other; omit one")
    return asked[0] if asked else study


def _parser(study: Study, instead: Mapping[str, Study | None], presets: Presets) -> argparse.ArgumentParser:
    script = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog=script,
        description=f"Run the study {study.name}: {len(list(study.cells()))} cells on {study.target_name}.",
        epilog=f"example: python {script} --data ~/data --set fraction=0.5,1.0 --set epochs=2 --set seeds=1; "
        f"what a budget allows: python {script} --data ~/data --budget-hours 20 --plan",
    )
    add = parser.add_argument
    add("--version", action="version", version=versions())
    if instead["demo"] is not None:
        add("--demo", action="store_true", help="run a small version of the study on generated images")
    if instead["as_published"] is not None:
        add(
            "--as-published",
            action="store_true",
            help="repeat the runs of the paper with its settings; the script's docstring lists the deviations",
        )
    add(
        "--data",
        action="append",
        default=[],
        metavar="ROOT|NAME=PATH",
        help="folder that contains datasets, or the path of one dataset; repeatable",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="change or narrow an axis or a setting (segsweep settings lists them); repeatable",
    )
    add("--preset", choices=sorted(presets), help="apply a named list of --set of this study") if presets else None
    add("--plan", action="store_true", help="print the plan and the predicted time, without running it")
    add("--json", action="store_true", help="with --plan: print one JSON object")
    add("--gpus", type=int, metavar="N", help="with --plan: price the study on N GPUs of a kind that the store has measured")
    add("--gpu-kind", metavar="NAME", help="with --gpus: the GPU's name or a part of it, such as H100 (default: the only one)")
    add("--check", action="store_true", help="rehearse every cell with two batches; only prepared data is kept")
    add("--fetch", action="store_true", help="download the weights and datasets of the study, without running it")
    add("--out", default="runs", metavar="DIR", help="folder of studies (default: runs)")
    add("--store", metavar="DIR", help="folder of artifacts, shared by all studies (default: store, beside --out)")
    add("--name", metavar="NAME", help="run a variant under another name, in another folder")
    add("--fork", metavar="NAME", help="run a variant under another name that starts from this study's records")
    add(
        "--seeds-until-decided",
        type=int,
        metavar="MOST",
        help="add seeds to all cells, up to MOST, while more would decide an open question",
    )
    add("--retry-failed", action="store_true", help="run failed trials and stages again")
    add_search_options(parser)
    group = parser.add_argument_group(
        "limits: every cell gets the same number of tuning trials and of seeds, as many as fit; the same command with a larger "
        "limit, or without one, goes on"
    )
    for flag, keywords in command_line_options(LIMITS):
        group.add_argument(flag, **keywords)
    group = parser.add_argument_group(
        "runner, device and workers (default: Ray, on all cores and GPUs of the cluster or of this machine)"
    )
    for flag, keywords in command_line_options():
        group.add_argument(flag, **keywords)
    add_mirror_options(parser, default="off")
    return parser


def _run(study: Study, presets: Presets, stand_ins: StandIns, options: argparse.Namespace, console: "Console") -> int:
    """Check the options that need no torch, execute the command, and return the exit code."""
    if options.json and not options.plan:
        raise UserError("--json: only allowed with --plan")
    if options.gpus is not None and not options.plan:
        raise UserError("--gpus: only allowed with --plan")
    if options.gpu_kind is not None and options.gpus is None:
        raise UserError("--gpu-kind: only allowed with --gpus")
    if sum([options.check, options.plan, options.fetch]) > 1:
        raise UserError("--plan, --check and --fetch exclude each other; give only one")
    mirror = mirror_options(options, MirrorOptions())
    run_options = Options(**{name: getattr(options, name) for name in Options.__dataclass_fields__})
    preset = getattr(options, "preset", None)
    chosen = list(presets[preset]) if preset else []
    narrowed = with_search(narrow(narrow(study, chosen), options.set), options)

    from segsweep.sweep.folders import Folders  # loads numpy

    if options.fetch:
        announce_start(console)
        from segsweep.cli.fetch import fetch  # loads torch
        from segsweep.data.table import DataRoots

        return fetch(narrowed, DataRoots.parse(options.data), console)
    if options.seeds_until_decided is not None:
        narrowed = narrowed.until_decided(options.seeds_until_decided)
    folders = Folders.make(options.out, options.store, options.data)
    study, remarks = _fit_to_data(narrowed, [*chosen, *options.set], stand_ins, options, folders.roots)
    if options.name is not None:
        study = replace(study, name=options.name)
    if options.fork is not None:
        folders, study = folders.forked(study, options.fork)
    for line in remarks:
        console.print(line, soft_wrap=True)
    announce_start(console, "torch and ray" if run_options.runner == "ray" and not options.plan else "torch")

    from segsweep.cli import study_command  # loads torch
    from segsweep.sweep.planned_gpus import PlannedGpus

    if options.plan:
        gpus = None if options.gpus is None else PlannedGpus(options.gpus, options.gpu_kind)
        as_json = options.json
        return study_command.plan(study, folders, run_options, mirror, console, options.retry_failed, as_json=as_json, gpus=gpus)
    if options.check:
        return study_command.rehearse(study, folders, run_options, mirror, console)
    return study_command.run(study, folders, run_options, mirror, console, options.retry_failed)


def _fit_to_data(
    study: Study, narrowing: Sequence[str], stand_ins: StandIns, options: argparse.Namespace, roots: "DataRoots"
) -> tuple[Study, list[str]]:
    """Return the study adapted to the available data, and lines on the changes."""
    from segsweep.cli.stand_ins import with_class_map_of_target, with_stand_ins

    named = {text.partition("=")[0].strip() for text in narrowing}
    remarks: list[str] = []
    if "target" in named:
        study, remarks = with_class_map_of_target(study, roots)
    if "source" not in named and not getattr(options, "as_published", False):
        study, more = with_stand_ins(study, stand_ins, roots)
        remarks += more
    return study, remarks
