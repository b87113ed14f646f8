"""The command line of a study script: `main(study)`."""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from segsweep.cli.at_hand import StandIns, with_class_map_of_target, with_stand_ins
from segsweep.cli.mirror import add_mirror_options, mirror_options
from segsweep.config.narrow import narrow
from segsweep.config.own import adopt
from segsweep.config.study import Study
from segsweep.data.table import DataRoots
from segsweep.errors import OutageError, UserError
from segsweep.records.models import lost_models, lost_remarks
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.report.cells import summarise
from segsweep.report.clips import write_clips
from segsweep.report.write import write_report
from segsweep.sweep.catalog import Catalog, check_names
from segsweep.sweep.check import check
from segsweep.sweep.cost import readable_seconds
from segsweep.sweep.crew import Options
from segsweep.sweep.past import past_of
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import choose_view
from segsweep.sweep.run import load_or_none, plan_of, planned_among, planner_of, remarks, run_in, seconds_left
from segsweep.sweep.runners import RUNNERS, runner_for_plan
from segsweep.sweep.setting import Setting
from segsweep.sweep.trouble import trouble_of

Presets = Mapping[str, Sequence[str]]
INTERRUPTED, UNAVAILABLE = 130, 75  # the second is sysexits.h's EX_TEMPFAIL: to be tried again later


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
    exit code 2; a rehearsal with failures, and a study with a cell without result, exits with 1; Ctrl-C with 130; a full
    disk or a lost store with 75, where `--wait-minutes` are over or nothing had begun.
    """
    instead = {"demo": demo, "as_published": as_published}
    options = _parser(study, instead, presets or {}).parse_args(arguments)
    console = Console(stderr=True)
    try:
        sys.exit(_run(_chosen(study, instead, options), presets or {}, stand_ins or {}, options, console))
    except UserError as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except OutageError as error:
        console.print(f"paused for too long: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(UNAVAILABLE)
    except OSError as error:
        if (trouble := trouble_of(error)) is None:
            raise
        told = f"error: {trouble}; everything so far is kept, and the same command continues"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
        sys.exit(UNAVAILABLE)
    except KeyboardInterrupt:
        script = Path(sys.argv[0]).absolute()
        shown = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
        again = shlex.join([str(shown), *sys.argv[1:]])
        console.print(
            f"interrupted; everything so far is kept. To continue: python {again}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        sys.exit(INTERRUPTED)


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
    if instead["demo"] is not None:
        add("--demo", action="store_true", help="run small, on pictures generated on the spot")
    if instead["as_published"] is not None:
        add(
            "--as-published",
            action="store_true",
            help="run the runs of the paper, with its settings; what deviates is in the docstring",
        )
    add("--data", action="append", default=[], metavar="ROOT|NAME=PATH", help="where data sets lie; repeatable")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="narrow or change an axis or a setting; repeatable",
    )
    add("--preset", choices=sorted(presets), help="a named set of --set texts of this study") if presets else None
    add("--plan", action="store_true", help="print what would run, and run nothing")
    add("--json", action="store_true", help="with --plan: as one JSON object")
    add("--check", action="store_true", help="rehearse two batches of every cell, and keep nothing")
    add("--out", default="runs", metavar="DIR", help="folder of studies (default: runs)")
    add("--store", metavar="DIR", help="folder of artifacts, shared by all studies (default: store, beside --out)")
    add("--name", metavar="NAME", help="run it under another name, in a folder of its own: a variant beside the study")
    add("--retry-failed", action="store_true", help="run again what failed")
    _add_runner_options(parser)
    add_mirror_options(parser, default="off")
    return parser


def _add_runner_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `Options`, by the names of its fields."""
    group = parser.add_argument_group("where the work is done (default: Ray, on all cores and GPUs of the cluster at hand)")
    add = group.add_argument
    add("--runner", default="ray", choices=sorted(RUNNERS), help="ray, or inline: all in this process, one after the other")
    add("--device", default="auto", help="auto, cpu or cuda; inline also cuda:N (default: auto)")
    add("--threads", type=int, metavar="N", help="CPU threads of each worker (default: the cores divided among the workers)")
    add("--max-concurrent", type=int, metavar="N", help="workers at most (default: one per GPU, or one per core)")
    add("--gpus-per-trial", type=float, metavar="SHARE", help="1, or a share of a GPU as 0.5 (default: 1)")
    add("--workers-per-stage", type=int, default=1, metavar="N", help="workers that train one source stage together (default: 1)")
    add("--workers-per-trial", type=int, default=1, metavar="N", help="workers that train one trial together (default: 1)")
    wait = "wait at most so long for a full disk or a lost store, then end with exit code 75 (default: as long as it takes)"
    add("--wait-minutes", type=float, metavar="N", help=wait)
    add("--deterministic", action="store_true", help="repeat GPU results to the last bit, as far as torch can; slower")


def _run(study: Study, presets: Presets, stand_ins: StandIns, options: argparse.Namespace, console: Console) -> int:
    preset = getattr(options, "preset", None)
    chosen = list(presets[preset]) if preset else []
    setting = Setting.make(options.out, options.store, options.data)
    narrowed = narrow(narrow(study, chosen), options.set)
    study, told = _at_hand(narrowed, [*chosen, *options.set], stand_ins, options, setting.roots)
    if options.name is not None:
        study = replace(study, name=options.name)
    for line in told:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    where = Options(**{name: getattr(options, name) for name in Options.__dataclass_fields__})
    if options.json and not options.plan:
        raise UserError("--json: goes with --plan")
    if options.plan:
        _print_plan(study, setting, where, options.json, console)
        return 0
    if options.check:
        return _check(study, setting, where, console)
    with mirroring(setting.study_folder(study), mirror_options(options, MirrorOptions()), print):
        records = run_in(study, setting, where, console, options.retry_failed)
        print(write_report(records, setting.store.root), flush=True)
        for line in write_clips(records, setting.store.root):
            print(line)
    print(f"\nEverything is in {records.folder} (predictions.png, table.csv, records); artifacts in {setting.store.root}")
    empty = int((summarise(records)["seeds"] == 0).sum())
    if empty:
        console.print(f"{empty} cells came to no result; their reasons stand above", markup=False, highlight=False)
    return 1 if empty else 0


def _at_hand(
    study: Study, narrowing: Sequence[str], stand_ins: StandIns, options: argparse.Namespace, roots: DataRoots
) -> tuple[Study, list[str]]:
    """Return a study that fits the data at hand, and lines that tell how it was changed."""
    named = {text.partition("=")[0].strip() for text in narrowing}
    told: list[str] = []
    if "target" in named:
        study, told = with_class_map_of_target(study, roots)
    if "source" not in named and not getattr(options, "as_published", False):
        study, more = with_stand_ins(study, stand_ins, roots)
        told += more
    return study, told


def _print_plan(study: Study, setting: Setting, options: Options, as_json: bool, console: Console) -> None:
    setting.store.check_writable()  # a plan keeps there what it has read of the data, and a run will write
    adopt(study.brought)
    check_names(study)
    view = choose_view(console)
    with runner_for_plan(options, study, setting.store) as runner:
        try:
            catalog = Catalog(setting.roots, setting.store, view.data, lenient=True, brought=study.brought)
            plan = plan_of(study, catalog, runner)
        finally:
            view.close()
        records = load_or_none(setting.study_folder(study))
        lost = lost_models(records.trials, setting.store) if records is not None else {}
        damaged: list[str] = []
        planner = planner_of(plan, setting.store, past_of(records, study.early_stopping, lost=lost), damaged.append)
        content = _plan_content(planner, catalog)
        if as_json:
            print(json.dumps(content))
            return
        _print_plan_text(planner, content)
        for remark in [*remarks(plan, catalog), *damaged, *lost_remarks(planned_among(lost, planner))]:
            print(remark)
        for reason in catalog.absent.values():
            print(f"  {reason}")
        if not catalog.absent and not planner.done:
            print(f"about {readable_seconds(seconds_left(planner, catalog, runner))} on {runner.label}, before early stopping")


def _plan_content(planner: Planner, catalog: Catalog) -> dict[str, Any]:
    """Return what `--json` prints."""
    plan = planner.plan
    stages = plan.stages()
    return {
        "study": plan.study.name,
        "cells": len(plan.names),
        "trials": plan.trials,
        "tuning_trials": plan.tuning_trials,
        "confirmation_trials": plan.confirmation_trials,
        "trials_done": planner.trials_done,
        "stages": len(stages),
        "stages_in_store": len(stages) - len(planner.unbuilt(stages)),
        "data_absent": sorted(catalog.absent),
    }


def _print_plan_text(planner: Planner, content: Mapping[str, Any]) -> None:
    plan = planner.plan
    counts = f"{plan.trials} trials ({plan.tuning_trials} to tune, {plan.confirmation_trials} to confirm)"
    print(f"{plan.study.name}: {plan.counted_cells}, {counts}, {content['trials_done']} done")
    for name in plan.names:
        print(f"  cell  {name}")
    missing = {stage.spec_id for stage in planner.unbuilt(plan.stages())}
    for stage in plan.stages():
        state = "to build" if stage.spec_id in missing else "in the store"
        rate = f", learning rate {stage.settings['learning_rate']:g}" if "learning_rate" in stage.settings else ""
        print(f"  stage {stage.name} for {stage.model}, seed {stage.seed}{rate}: {state}")


def _check(study: Study, setting: Setting, options: Options, console: Console) -> int:
    records = check(study, setting, options, console)
    bad = records.trials[records.trials["status"] != "finished"]
    cells = records.trials["cell"].nunique()
    for cell, trials in bad.groupby("cell", sort=False):
        reasons = trials["error"].dropna()
        print(f"FAILED {cell}: {reasons.iloc[0] if len(reasons) else 'did not run'}")
    print(f"{cells - bad['cell'].nunique()} of {cells} cells pass; nothing of this rehearsal is kept but prepared data")
    return 1 if len(bad) else 0
