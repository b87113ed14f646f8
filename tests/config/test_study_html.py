"""A declared study as HTML."""

from dataclasses import replace

import pytest

from segsweep.config import Choice, LogUniform, Study, Target
from segsweep.config.study_html import tuning_count
from segsweep.sweep.points import tuning_points

STUDY = Study(
    "grid",
    target=Target("folder:/data/<b>pets</b>", protocol="60-20-20"),
    compare={"source": ["random", "imagenet"], "freeze": ["none", "encoder"]},
    tune={"learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={"epochs": 2},
    seeds=3,
)


def test_a_study_shows_its_axes_and_trials() -> None:
    """The HTML names target, axes, roles, values, cells and numbers of trials; names are escaped."""
    html = STUDY._repr_html_()
    assert "<b>Study grid</b>: target folder:/data/&lt;b&gt;pets&lt;/b&gt; (60-20-20)" in html
    assert "<td>source</td><td>compared</td><td>random, imagenet</td>" in html
    assert "<td>learning_rate</td><td>tuned</td><td>LogUniform(low=0.0001, high=0.01)</td>" in html
    assert "<td>epochs</td><td>fixed</td><td>2</td>" in html
    assert "4 cells, 44 trials (32 to tune, 12 to confirm)" in html
    assert "<li>source=imagenet freeze=encoder</li>" in html


def test_trials_of_folds_are_counted() -> None:
    """A cell runs once per fold, and each of several grids has rows of its own."""
    folded = replace(STUDY, target=Target("pets", protocol="5-fold"), compare=[{"source": ["random"]}, {"source": ["imagenet"]}])
    html = folded._repr_html_()
    assert "2 cells, 110 trials (80 to tune, 30 to confirm)" in html
    assert "<td>source</td><td>compared, grid 2</td><td>imagenet</td>" in html


@pytest.mark.parametrize("count", [None, 1, 5, 9])
@pytest.mark.parametrize(
    "tune",
    [
        {},
        {"learning_rate": LogUniform(1e-4, 1e-2)},
        {"learning_rate": LogUniform(1e-4, 1e-2), "batch_size": Choice(2, 4)},
        {"learning_rate": Choice(1e-3, 1e-2), "batch_size": Choice(2, 4)},
    ],
)
def test_tuning_trials_are_counted_as_they_are_planned(tune: dict[str, object], count: int | None) -> None:
    """The number of tuning trials is that of the tuning points."""
    study = replace(STUDY, tune=tune, trials_per_cell=count)
    assert tuning_count(study) == len(tuning_points(study.tune, study.trials_per_cell))
