"""Small studies for planner tests, and their plans on invented data."""

from collections.abc import Mapping
from typing import Any

from segsweep.config import LogUniform, Study, Target
from segsweep.config.keep import Reading
from segsweep.config.work import Trial
from segsweep.sweep.built import Find
from segsweep.sweep.decisions import Ended, Verdict
from segsweep.sweep.plan import Plan, make_plan
from segsweep.sweep.planner import Planner
from segsweep.tasks.trial_task import TrialTask


def small_study(**changes: Any) -> Study:
    """Return a study of 2 sources x 2 freeze policies, with four tuning trials and two seeds per cell."""
    values: dict[str, Any] = {
        "name": "small",
        "target": Target("pets"),
        "compare": {"source": ["random", "supervised:voc2012"], "freeze": ["none", "encoder"]},
        "tune": {"learning_rate": LogUniform(1e-5, 1e-2)},
        "fixed": {"epochs": 4, "precision": "float32"},
        "trials_per_cell": 4,
        "seeds": 2,
    }
    return Study(**{**values, **changes})


def plan_of(study: Study) -> Plan:
    """Return the plan of a study, with data keys derived from names."""
    return make_plan(study, lambda name, scheme, image_px, fit: f"data {name} {scheme} {image_px} {fit}")


def nothing_built(kind: str, key: str) -> str | None:  # noqa: ARG001
    """Find no artifact, as in an empty store."""
    return None


def built_in(contents: Mapping[str, str]) -> Find:
    """Return a function that looks up artifacts by key in a mapping to content hashes."""
    return lambda kind, key: contents.get(key)  # noqa: ARG005


def continues(planner: Planner, trial: Trial, epoch: int, found: Reading) -> bool:
    """Report an epoch of a trial, and return whether the trial continues."""
    return planner.report(TrialTask(trial), trial.trial_id, epoch, found) is Verdict.CONTINUE


def end(planner: Planner, trial: Trial, ended: Ended) -> None:
    """Report how a trial ended."""
    planner.record_ended(trial.trial_id, ended)
    planner.task_ended(TrialTask(trial))
