"""What a study's command does once its arguments are read: plan, rehearse, run. Each returns an exit code."""

import json
from functools import partial

from rich.console import Console

from segsweep.cli.exits import INCOMPLETE
from segsweep.cli.plan_text import plan_content, plan_lines
from segsweep.config.study import Study
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.report.cells import summarise
from segsweep.report.clips import write_clips
from segsweep.report.write import write_report
from segsweep.sweep.check import check
from segsweep.sweep.folder_checks import check_free, check_mirror
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.progress import choose_view
from segsweep.sweep.run import run_in
from segsweep.sweep.session import Purpose, SessionConfig, open_session


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
    view, notify = choose_view(console), partial(console.print, soft_wrap=True)
    try:
        with open_session(study, SessionConfig(Purpose.PLAN, folders, options, view, notify, retry_failed)) as session:
            view.close()
            content = plan_content(session)
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
        print(write_report(records, folders.store.location), flush=True)
        for line in write_clips(records, folders.store.location):
            print(line)
    print(f"\nEverything is in {records.folder} (predictions.png, table.csv, records); artifacts in {folders.store.location}")
    empty = int((summarise(records)["seeds"] == 0).sum())
    if empty:
        console.print(f"{empty} cells came to no result; their reasons stand above")
    return INCOMPLETE if empty else 0
