"""The actions of a study's command, after its arguments are parsed: plan, rehearse, run. Each returns an exit code."""

import json
from functools import partial

from rich.console import Console

from segsweep.cli.exits import INCOMPLETE
from segsweep.cli.plan_text import plan_content, plan_lines, plan_prediction
from segsweep.config.study import Study
from segsweep.records.wandb.launch import mirroring
from segsweep.records.wandb.options import MirrorOptions
from segsweep.report.answer.answer import answer_of
from segsweep.report.cells import summarise
from segsweep.report.clips import write_clips
from segsweep.report.write import write_page, write_report
from segsweep.sweep.check import check
from segsweep.sweep.folder_checks import check_free, check_mirror
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.planned_gpus import PlannedGpus
from segsweep.sweep.progress import choose_view
from segsweep.sweep.run import run_in
from segsweep.sweep.session import Purpose, SessionConfig, open_session
from segsweep.sweep.until_decided import at_last_look


def plan(
    study: Study,
    folders: Folders,
    options: Options,
    mirror: MirrorOptions,
    console: Console,
    retry_failed: bool,
    *,
    as_json: bool,
    gpus: PlannedGpus | None = None,
) -> int:
    """Print the plan of a study. Raises the errors that a run would raise, and writes only to the store.

    With `gpus` it is priced for these instead of the present machine or cluster.
    """
    check_mirror(mirror, folders.study_folder(study))
    view, notify = choose_view(console), partial(console.print, soft_wrap=True)
    study = at_last_look(study, folders.study_folder(study))
    try:
        config = SessionConfig(Purpose.PLAN, folders, options, view, notify, retry_failed, gpus)
        with open_session(study, config) as session:
            view.close()
            predicted = plan_prediction(session)
            content = plan_content(session, predicted)
            print(json.dumps(content) if as_json else "\n".join(plan_lines(content, predicted)), flush=True)
    finally:
        view.close()
    check_free(folders.study_folder(study))  # last, so that the plan of a running study is shown
    return 0


def rehearse(study: Study, folders: Folders, options: Options, mirror: MirrorOptions, console: Console) -> int:
    """Rehearse every cell, and print the cells that fail. Return 1 if any fails."""
    check_mirror(mirror, folders.study_folder(study))
    study = at_last_look(study, folders.study_folder(study))
    records = check(study, folders, options, console)
    bad = records.trials[records.trials["status"] != "finished"]
    cells = records.trials["cell"].nunique()
    for cell, trials in bad.groupby("cell", sort=False):
        reasons = trials["error"].dropna()
        print(f"FAILED {cell}: {reasons.iloc[0] if len(reasons) else 'did not run'}")
    print(f"{cells - bad['cell'].nunique()} of {cells} cells pass; only prepared data is kept from this rehearsal")
    return INCOMPLETE if len(bad) else 0


def run(study: Study, folders: Folders, options: Options, mirror: MirrorOptions, console: Console, retry_failed: bool) -> int:
    """Run the unfinished work of a study, and print its table. Return 1 if a cell has no result."""
    check_mirror(mirror, folders.study_folder(study))
    with mirroring(folders.study_folder(study), mirror, print):
        records = run_in(study, folders, options, console, retry_failed)
        answer, store = answer_of(records), folders.store.location
        print(write_report(records, store, answer), flush=True)
        for line in write_clips(records, store):
            print(line)
        write_page(records, store, answer)
    print(f"\nResults: {records.folder} (report.html, table.csv, predictions.png, records); artifacts: {store}")
    empty = int((summarise(records)["seeds"] == 0).sum())
    if empty:
        console.print(f"{'1 cell has' if empty == 1 else f'{empty} cells have'} no result; the reasons are listed above")
    return INCOMPLETE if empty else 0
