"""Suggestions of Optuna's samplers. A suggestion depends only on the space, the results so far and a seed."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segsweep.config.search import Sampler
from segsweep.config.settings import Settings
from segsweep.config.space import Choice, LogUniform
from segsweep.sweep.plan import Cell
from segsweep.sweep.search_space import Dimension, SearchSpace

if TYPE_CHECKING:  # Optuna takes half a second to import
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

SHARES = 1000  # steps of a full run, in which stopped trials of different lengths are compared


@dataclass(frozen=True)
class Observation:
    """What a sampler knows of one trial.

    Attributes:
        decided: The value of every dimension that led to the trial.
        status: `running`, or how the trial ended.
        value: The mean of its last readings, higher is better; NaN without readings.
        share: The part of its planned epochs that it has run.
    """

    decided: Mapping[Dimension, Any]
    status: str
    value: float = math.nan
    share: float = 1.0


def suggest(space: SearchSpace, known: Sequence[Observation], sampler: Sampler, seed: int) -> tuple[Cell, Settings]:
    """Return the cell and the settings that a sampler suggests next, given what is `known`, in the order of the trials.

    A stopped trial counts as one of that length. Trials that failed or had no source count as bad as the worst finished one.
    """
    with _quiet():
        import optuna

        study = optuna.create_study(direction="maximize", sampler=_sampler(sampler, seed))
        if sampler == "random":  # it ignores results
            known = []
        finished = [each.value for each in known if each.status == "finished" and math.isfinite(each.value)]
        study.add_trials([_told(each, min(finished, default=math.nan)) for each in known])
        trial = study.ask()
        return space.walk(lambda dimension: _asked(trial, dimension))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log and its warnings on experimental features."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _sampler(name: Sampler, seed: int) -> "BaseSampler":
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    seed %= 2**32
    if name == "gp":
        return GPSampler(seed=seed)
    if name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _told(known: Observation, worst: float) -> "FrozenTrial":
    """Return an observation as a trial of Optuna; `worst` is the lowest value of a finished trial."""
    from optuna.trial import TrialState, create_trial

    params = {dimension.name: _encoded(dimension, value) for dimension, value in known.decided.items()}
    distributions = {dimension.name: _distribution(dimension) for dimension in known.decided}
    state, value, steps = TrialState.COMPLETE, known.value, {}
    if known.status == "running":
        state, value = TrialState.RUNNING, math.nan
    elif known.status == "stopped" and math.isfinite(value):
        state, steps = TrialState.PRUNED, {max(1, round(SHARES * known.share)): value}
    elif known.status != "finished" or not math.isfinite(value):
        value = worst
        state = TrialState.COMPLETE if math.isfinite(worst) else TrialState.FAIL
    return create_trial(
        state=state,
        value=value if state is TrialState.COMPLETE else None,
        params=params,
        distributions=distributions,
        intermediate_values=steps,
    )


def _distribution(dimension: Dimension) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    tried = dimension.tried
    if isinstance(tried, Choice):
        return CategoricalDistribution([str(value) for value in tried.values])
    return FloatDistribution(tried.low, tried.high, log=isinstance(tried, LogUniform))


def _encoded(dimension: Dimension, value: Any) -> Any:
    return str(value) if isinstance(dimension.tried, Choice) else value


def _asked(trial: "Trial", dimension: Dimension) -> Any:
    """Return the value that a trial of Optuna suggests for a dimension; numbers of ranges have 4 significant digits."""
    tried = dimension.tried
    if isinstance(tried, Choice):
        text = trial.suggest_categorical(dimension.name, [str(value) for value in tried.values])
        return next(value for value in tried.values if str(value) == text)
    found = trial.suggest_float(dimension.name, tried.low, tried.high, log=isinstance(tried, LogUniform))
    return min(max(float(f"{found:.4g}"), tried.low), tried.high)
