"""The output of `--plan`: text, or one JSON object."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segsweep.config.work import StageSpec
from segsweep.sweep.announce import budget_lines, prediction, remarks, seconds_left
from segsweep.sweep.budget_start import BudgetForecast
from segsweep.sweep.declaration import declaration
from segsweep.sweep.prediction import Prediction
from segsweep.sweep.prediction_text import prediction_lines
from segsweep.sweep.session import Session
from segsweep.sweep.shorter_runs import longer_lines

NOT_SHOWN = ("schema_version", "segsweep", "name", "published", "cells")  # fields of a declaration that a plan omits


def plan_prediction(session: Session) -> Prediction | None:
    """Return the prediction of a session's remaining work; None if nothing is left to do, or data is absent."""
    return None if session.catalog.absent else prediction(session)


def plan_content(session: Session, predicted: Prediction | None) -> dict[str, Any]:
    """Return the content of `--plan --json` as plain values. The names of the fields are stable
    (`sweeps/README.md` lists them).

    `seconds` is the predicted time without early stopping: 0 if nothing is left to do, null if data is absent.
    """
    planner, plan, catalog, runner = session.planner, session.plan, session.catalog, session.runner
    stages = plan.stages()
    missing = {stage.spec_id for stage in planner.unbuilt(stages)}
    seconds = None if catalog.absent else seconds_left(session)
    forecast = BudgetForecast.of(planner)
    return {
        "study": plan.study.name,
        "declared": {name: value for name, value in declaration(plan).items() if name not in NOT_SHOWN},
        "cells": len(plan.names),
        "cell_names": plan.names,
        "folds": len(plan.cells) // len(plan.names) if plan.cells else 1,
        "trials": plan.trials,
        "tuning_trials": plan.tuning_trials,
        "confirmation_trials": plan.confirmation_trials,
        "trials_done": planner.trials_done,
        "stages": len(stages),
        "stages_in_store": len(stages) - len(missing),
        "stage_list": [_stage(stage, stage.spec_id not in missing) for stage in stages],
        "score_list": [{"name": task.spec.name, "done": done} for task, done in planner.all_scores()],
        "seconds": seconds,
        "prediction": None if predicted is None else predicted.as_dict(),
        "budget": forecast.as_row() if forecast is not None else None,
        "device": runner.device.label,
        "workers": runner.workers,
        "runs_on": runner.label,
        "data_absent": sorted(catalog.absent),
        "absent_reasons": [catalog.absent[name] for name in sorted(catalog.absent)],
        "data_undecoded": sorted(session.undecoded),
        "remarks": [*remarks(plan, catalog), *session.notices, *longer_lines(session), *budget_lines(session)],
    }


def _stage(stage: StageSpec, in_store: bool) -> dict[str, Any]:
    return {
        "name": stage.name,
        "model": stage.model,
        "seed": stage.seed,
        "settings": dict(stage.settings),
        "in_store": in_store,
    }


def plan_lines(content: Mapping[str, Any], predicted: Prediction | None) -> Iterator[str]:
    """Yield the lines of `--plan`. They contain the whole declaration, so the plans of two variants differ where these do."""
    folds = f" on {content['folds']} folds each" if content["folds"] > 1 else ""
    verb = "search" if "search" in content["declared"] else "tune"
    phases = f"{content['tuning_trials']} to {verb}, {content['confirmation_trials']} to confirm"
    trials = f"{content['trials']} trials ({phases}), {content['trials_done']} done"
    yield f"{content['study']}: {content['cells']} cells{folds}, {trials}"
    for name, value in content["declared"].items():
        if value not in (None, {}, []) and name != "compare":
            yield f"  {name}: {_words(value)}"
    for grid in content["declared"]["compare"]:
        yield f"  compare: {_words(grid)}"
    for name in content["cell_names"] if predicted is None else ():  # otherwise the table of prices lists them
        yield f"  cell  {name}"
    varied = _varied([stage["settings"] for stage in content["stage_list"]])
    for stage in content["stage_list"]:
        shown = "".join(f", {name}={stage['settings'].get(name)}" for name in varied if name in stage["settings"])
        state = "in the store" if stage["in_store"] else "to build"
        yield f"  stage {stage['name']} for {stage['model']}, seed {stage['seed']}{shown}: {state}"
    for score in content["score_list"]:
        yield f"  score {score['name']}: {'done' if score['done'] else 'to compute'}"
    yield from content["remarks"]
    for reason in content["absent_reasons"]:
        yield f"  {reason}"
    if content["data_undecoded"]:
        undecoded = ", ".join(content["data_undecoded"])
        yield f"not decoded yet: {undecoded}; their images and masks are unchecked (--check decodes and checks them)"
    if predicted is not None:
        yield from prediction_lines(predicted, content["runs_on"])


def _words(value: Any) -> str:
    """Return a declared value in one line: `NAME=VALUE` for each entry of a mapping, values with commas for a list."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_words(each)}" for name, each in value.items() if each not in (None, {}))
    return ",".join(map(_words, value)) if isinstance(value, list) else str(value)


def _varied(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of settings in which stages differ, and of the learning rate."""
    names = list(dict.fromkeys(name for each in settings for name in each))
    differ = [name for name in names if len({str(each[name]) for each in settings if name in each}) > 1]
    return list(dict.fromkeys([name for name in names if name == "learning_rate" or name in differ]))
