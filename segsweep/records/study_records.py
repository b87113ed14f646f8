"""The records of one study as a set of tables, assembled from its rows, its plan and its choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.lines import Row
from segsweep.records.parts import read_choices, read_index, read_plan
from segsweep.records.plan_status import PlanStatus, divided, with_those_before
from segsweep.records.query import answer, tables_of, with_all_rows
from segsweep.records.schema import FIRST_METHOD, identity_column, needed_first, task_tables
from segsweep.records.tables import typed
from segsweep.records.times import with_datetimes
from segsweep.records.views import view

OF_PLAN = ("trials", "stages", "scores")  # tables whose rows belong to a study as far as its plan needs them


@dataclass(frozen=True)
class Records:
    """The tables of one study, as pandas data frames. Times are datetimes in UTC, durations are in seconds.

    Attributes:
        folder: Folder of the study, or of the copy that was downloaded from W&B.
        trials: One row per trial in the present declaration of the study: planned, running or ended.
        epochs: One row per epoch of a trial or stage. For a stage, `trial_id` is the stage's id and `phase` is "stage".
        images: One row per test image of each confirmed run.
        counts: One row per confirmed run, test image and class that occurs in its truth or prediction: the numbers of pixels
            `hit`, `true` and `predicted`, from which all measures of the test follow. Empty for versions of the schema before 2.
        stages: One row per stage of a source.
        scores: One row per source model and subset of the target's training images: scores that predict the transfer, with
            standard errors. Empty for versions of the schema before 3.
        confusions: The confusion matrix of each confirmed run over the whole test split: the `pixels` of class `truth` that were
            `predicted` as a class, without zeros. Empty for earlier versions.
        all_trials: As `trials`, with all trials that ever ran; those outside the present declaration have `planned` false. The
            same holds for `all_epochs`, `all_images`, `all_counts`, `all_stages`, `all_scores` and `all_confusions`.
        study: The declaration of the study.
        choices: For each cell the setting that it chose, or the `reason` why it chose none. Under a protocol with folds the keys
            are `CELL fold=N`.
        further: Tables of kinds of tasks without a field here, by name.
    """

    folder: Path
    trials: pd.DataFrame
    epochs: pd.DataFrame
    images: pd.DataFrame
    counts: pd.DataFrame
    stages: pd.DataFrame
    scores: pd.DataFrame
    confusions: pd.DataFrame
    all_trials: pd.DataFrame
    all_epochs: pd.DataFrame
    all_images: pd.DataFrame
    all_counts: pd.DataFrame
    all_stages: pd.DataFrame
    all_scores: pd.DataFrame
    all_confusions: pd.DataFrame
    study: Mapping[str, Any]
    choices: Mapping[str, Mapping[str, Any]]
    further: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by name, such as `trials` or `all_trials`. Raises `KeyError` for an unknown name."""
        known = {**{each.name: self.__dict__[each.name] for each in fields(self)}, **self.further}
        found: pd.DataFrame = known[name]
        return found

    def sql(self, query: str) -> pd.DataFrame:
        """Return the result of an SQL query over these tables; see `segsweep.records.sql`."""
        return answer(query, tables_of([self]))

    @cached_property
    def answer(self) -> Any:
        """The answer of the study, a `segsweep.report.answer.answer.Answer`: `sentences`, cells with intervals, questions."""
        return view("answer")(self)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per cell: settings, scores, the interval of the score, and whether the cell may be the best."""
        summary: pd.DataFrame = view("summary")(self)
        return summary

    def __repr__(self) -> str:
        return f"Records of {self.study['name']} in {self.folder}: {len(self.trials)} trials"

    def _repr_html_(self) -> str:
        html: str = view("html")(self)
        return html


def assemble(
    folder: Path, study: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], chosen: frozenset[str] = frozenset()
) -> Records:
    """Return records from a declaration, its tables, and a folder with the plan and the choices.

    Trials in `chosen` are marked as chosen, beside those that the choices name. Rows are in the order in which trials and stages
    started; trials that have not run follow.
    """
    index = read_index(folder)
    choices = {_choice_key(row): row for row in read_choices(folder, index)}
    plan = read_plan(folder, index)
    plan_status = PlanStatus.of(plan, choices.values(), chosen)
    of_tasks = {known.name: _by_start(_with_method(tables[known.name]), known.identity) for known in needed_first()}
    of_tasks["trials"] = _with_plan(of_tasks["trials"], plan, plan_status)
    identities = chain.from_iterable(data[identity_column(table)] for table, data in of_tasks.items())
    rank = {identity: rank for rank, identity in enumerate(identities)}
    rest = {
        table: data.iloc[data["trial_id"].map(rank).argsort(kind="stable")].reset_index(drop=True)
        for table, data in tables.items()
        if table not in of_tasks
    }
    everything = {table: with_datetimes(data) for table, data in {**of_tasks, **rest}.items()}
    named = _declared_rows(everything, plan_status) | {with_all_rows(table): data for table, data in everything.items()}
    known = {each.name: named.pop(each.name) for each in fields(Records) if each.name in named}
    return Records(folder, **known, study=study, choices=choices, further=named)


def _declared_rows(tables: Mapping[str, pd.DataFrame], plan_status: PlanStatus) -> dict[str, pd.DataFrame]:
    """Return the rows of every table that belong to the present declaration of the study. No other function decides this.

    These are the rows of planned trials, of the stages they start from with all stages before those, of planned scores, and of
    all other tasks.
    """
    if plan_status.planned is None:
        return dict(tables)
    trials = tables["trials"][tables["trials"]["planned"]]
    needed = {*plan_status.stages, *trials["stage_id"].dropna()}
    others = (tables[name][known.identity] for name, known in task_tables().items() if name not in OF_PLAN)
    ids = {*trials["trial_id"], *with_those_before(needed, tables["stages"]), *plan_status.scores, *chain.from_iterable(others)}
    if ids.issuperset(chain.from_iterable(tables[name][identity_column(name)] for name in OF_PLAN)):
        return dict(tables)
    return {table: _only(data, data[identity_column(table)].isin(ids)) for table, data in tables.items()}


def _only(data: pd.DataFrame, wanted: "pd.Series[bool]") -> pd.DataFrame:
    return data if wanted.all() else data[wanted].reset_index(drop=True)


def _choice_key(choice: Row) -> str:
    return f"{choice['cell']} fold={choice['fold']}" if "fold" in choice else str(choice["cell"])


def _with_method(data: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the method version filled in, which records of the first version lack."""
    return data.assign(method_version=data["method_version"].fillna(FIRST_METHOD))


def _by_start(data: pd.DataFrame, identity: str) -> pd.DataFrame:
    """Return rows in the order of their start numbers, or of their start times for earlier versions, which have no numbers."""
    return data.sort_values(["start_number", "started_at", identity], ignore_index=True, na_position="first")


def _with_plan(trials: pd.DataFrame, plan: pd.DataFrame | None, plan_status: PlanStatus) -> pd.DataFrame:
    """Add planned trials that have not run, name cells as the plan does, and mark planned and chosen trials.

    Trials outside the present declaration remain, marked as not planned.
    """
    if plan is not None:
        plan, _ = divided(plan)
        cells = [plan_status.cells.get(trial, cell) for trial, cell in zip(trials["trial_id"], trials["cell"], strict=True)]
        trials = trials.assign(cell=pd.Series(cells, dtype="string"))
        parts = ["cell", "phase", "seed", *(["fold"] if "fold" in plan else [])]  # older plans have no folds
        confirm_runs = trials[trials["phase"] == "confirm"]
        confirmed = set(_row_keys(confirm_runs.loc[_among(confirm_runs["trial_id"], plan_status.chosen), parts], parts))
        run = set(trials["trial_id"])
        keys = zip(plan["trial_id"], _row_keys(plan, parts), strict=True)
        missing = [trial not in run and key not in confirmed for trial, key in keys]
        if any(missing):
            waiting = plan[missing].dropna(axis=1, how="all")
            trials = typed("trials", pd.concat([trials.dropna(axis=1, how="all"), waiting], ignore_index=True))
    ids = trials["trial_id"]
    planned = [True] * len(ids) if plan_status.planned is None else _among(ids, plan_status.planned)
    chosen = _among(ids, plan_status.chosen)
    return trials.assign(planned=pd.array(planned, dtype="boolean"), chosen=pd.array(chosen, dtype="boolean"))


def _among(ids: "pd.Series[str]", wanted: frozenset[str]) -> list[bool]:
    """Return for every id whether it is wanted; faster than `isin` for the few rows of most studies."""
    return [each in wanted for each in ids.tolist()]


def _row_keys(rows: pd.DataFrame, parts: list[str]) -> list[tuple[object, ...]]:
    """Return for every row its values in some columns, with -1 for missing values."""
    columns = ([-1 if pd.isna(value) else value for value in rows[part].tolist()] for part in parts)
    return list(zip(*columns, strict=True))
