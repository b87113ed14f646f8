"""What a study's command does once its arguments are read: plan, rehearse, run. Each returns an exit code."""

import json
from functools import partial

from rich.console import Console

from segsweep.cli.exits import INCOMPLETE
from segsweep.cli.plan_text import plan_content, plan_lines
from segsweep.config.study import Study
from segsweep.records.models import lost_models, lost_remarks
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.report.cells import summarise
from segsweep.report.clips import write_clips
from segsweep.report.write import write_report
from segsweep.sweep.changed import changed_line
from segsweep.sweep.check import check
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.progress import choose_view
from segsweep.sweep.resume import resume_state
from segsweep.sweep.run import declaration, load_or_none, planned_among, planner_of, run_in
from segsweep.sweep.start import check_free, check_mirror, ready


def plan(
    study: Study,
    folders: Folders,
    options: Options,
    mirror: MirrorOptions,
    console: Console,
    retry_failed: bool,
    *,
    as_json: bool,
) -> int:
    """Print what a run would do; raise what it would refuse. Nothing is written but to the store."""
    check_mirror(mirror, folders.study_folder(study))
    view, tell = choose_view(console), partial(console.print, soft_wrap=True)
    try:
        with ready(study, folders, options, view, tell, planning=True) as start:
            view.close()
            records = load_or_none(folders.study_folder(study))
            lost = lost_models(records.all_trials, folders.store) if records is not None else {}
            damaged: list[str] = []
            resume = resume_state(records, study.early_stopping, retry_failed, lost)
            planner = planner_of(start.plan, folders.store, resume, damaged.append)
            found = [*damaged, *lost_remarks(planned_among(lost, planner))]
            before = None if start.catalog.absent else records  # without its data every trial looks like another one
            if (changed := changed_line(folders.study_folder(study), before, declaration(start.plan), planner)) is not None:
                found.append(changed)
            content = plan_content(planner, start, found)
            print(json.dumps(content) if as_json else "\n".join(plan_lines(content)), flush=True)
    finally:
        view.close()
    check_free(folders.study_folder(study))  # last: what is planned can be seen while it runs
    return 0


def rehearse(study: Study, folders: Folders, options: Options, mirror: MirrorOptions, console: Console) -> int:
    """Rehearse every cell, print which fail, and return 1 where some do."""
    check_mirror(mirror, folders.study_folder(study))
    records = check(study, folders, options, console)
    bad = records.trials[records.trials["status"] != "finished"]
    cells = records.trials["cell"].nunique()
    for cell, trials in bad.groupby("cell", sort=False):
        reasons = trials["error"].dropna()
        print(f"FAILED {cell}: {reasons.iloc[0] if len(reasons) else 'did not run'}")
    print(f"{cells - bad['cell'].nunique()} of {cells} cells pass; nothing of this rehearsal is kept but prepared data")
    return INCOMPLETE if len(bad) else 0


def run(study: Study, folders: Folders, options: Options, mirror: MirrorOptions, console: Console, retry_failed: bool) -> int:
    """Run what the study still lacks, print its table, and return 1 where a cell came to no result."""
    check_mirror(mirror, folders.study_folder(study))
    with mirroring(folders.study_folder(study), mirror, print):
        records = run_in(study, folders, options, console, retry_failed)
        print(write_report(records, folders.store.root), flush=True)
        for line in write_clips(records, folders.store.root):
            print(line)
    print(f"\nEverything is in {records.folder} (predictions.png, table.csv, records); artifacts in {folders.store.root}")
    empty = int((summarise(records)["seeds"] == 0).sum())
    if empty:
        console.print(f"{empty} cells came to no result; their reasons stand above")
    return INCOMPLETE if empty else 0
