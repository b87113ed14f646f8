"""The points at which cells are tuned."""

import numpy as np
import pytest
from studies import plan_of, small_study

from segsweep.config.space import Choice, LogUniform, Uniform
from segsweep.errors import UserError
from segsweep.sweep.points import tuning_points

RATES = LogUniform(1e-5, 1e-2)


def test_more_points_begin_with_the_same_ones() -> None:
    """Asking for more points keeps those that there were."""
    assert tuning_points({"learning_rate": RATES}, 12)[:5] == tuning_points({"learning_rate": RATES}, 5)


def test_points_spread_evenly_over_the_decades() -> None:
    """Of 24 points on three decades, each decade gets eight, give or take one."""
    rates = [point["learning_rate"] for point in tuning_points({"learning_rate": RATES}, 24)]
    assert len(set(rates)) == 24
    counts, _ = np.histogram(np.log10(rates), bins=[-5, -4, -3, -2])
    assert counts.min() >= 7


def test_a_wider_range_keeps_the_points_inside_the_old_one() -> None:
    """When a range grows, no new point lies in the old range unless it was a point there."""
    old = {point["learning_rate"] for point in tuning_points({"learning_rate": RATES}, 16)}
    new = [point["learning_rate"] for point in tuning_points({"learning_rate": LogUniform(1e-5, 1e-1)}, 16)]
    inside = [rate for rate in new if rate <= 1e-2]
    assert set(inside) <= old
    assert 8 <= len(inside) < 16


def test_several_axes_lie_in_their_ranges() -> None:
    """Every axis of a point lies in its range, and a choice takes each of its values."""
    tune = {"learning_rate": RATES, "weight_decay": Uniform(0.0, 0.1), "loss": Choice("dice", "cross_entropy")}
    points = tuning_points(tune, 32)
    assert all(tune[axis].contains(value) for point in points for axis, value in point.items())
    assert {point["loss"] for point in points} == {"dice", "cross_entropy"}


def test_no_axes_need_no_points() -> None:
    """A study that tunes nothing has no tuning trials."""
    assert tuning_points({}, 8) == []


def test_ranges_too_narrow_are_an_error() -> None:
    """A range that the points hardly ever meet is refused, naming how many did."""
    with pytest.raises(UserError, match="of 8 points lie in"):
        tuning_points({"learning_rate": LogUniform(1e-3, 1.00001e-3)}, 8)


@pytest.mark.parametrize(
    ("decides", "values", "fixed", "kept"),
    [
        ("freeze", ["none", "encoder"], {"frozen_norm": "train"}, ["encoder"]),
        ("optimizer", ["adam", "sgd"], {"momentum": 0.5}, ["sgd"]),
        ("unfreeze_every_epochs", [1, 2], {"freeze": "encoder", "layer_decay": 0.5}, [1, 2]),
    ],
)
@pytest.mark.parametrize("role", ["fixed", "compare"])
def test_a_setting_holds_in_the_points_in_which_it_has_an_effect(decides, values, fixed, kept, role) -> None:
    """A setting whose effect depends on a tuned one is in all points that the tuned one gives it an effect in, and in no others;
    values of it that are compared make cells of their own."""
    (name, value) = list(fixed.items())[-1]
    others = {key: each for key, each in fixed.items() if key != name}
    default = type(small_study()._settings({})).model_fields[name].default
    compare = {"source": ["random"], **({name: [default, value]} if role == "compare" else {})}
    told = {"epochs": 4, "precision": "float32", **(others if role == "compare" else fixed)}
    plan = plan_of(small_study(compare=compare, tune={decides: Choice(values)}, fixed=told, trials_per_cell=8))
    assert len(plan.cells) == (2 if role == "compare" else 1)
    points = {getattr(trial.settings, decides): getattr(trial.settings, name) for trial in plan.cells[-1].tuning}
    assert points == {each: value if each in kept else default for each in values}
