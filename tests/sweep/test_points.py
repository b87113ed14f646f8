"""Tuning points."""

import numpy as np
import pytest
from studies import plan_of, small_study

from segsweep.config.space import Choice, LogUniform, Range, Uniform
from segsweep.errors import UserError
from segsweep.sweep.points import points_remarks, tuning_points

RATES = LogUniform(1e-5, 1e-2)


def test_more_points_begin_with_the_same_ones() -> None:
    """Asking for more points keeps the existing ones."""
    assert tuning_points({"learning_rate": RATES}, 12)[:5] == tuning_points({"learning_rate": RATES}, 5)


def test_points_spread_evenly_over_the_decades() -> None:
    """Of 24 points on three decades, each decade gets eight, plus or minus one."""
    rates = [point["learning_rate"] for point in tuning_points({"learning_rate": RATES}, 24)]
    assert len(set(rates)) == 24
    counts, _ = np.histogram(np.log10(rates), bins=[-5, -4, -3, -2])
    assert counts.min() >= 7


def test_a_wider_range_keeps_the_points_inside_the_old_one() -> None:
    """When a range grows, the points inside the old range are the same as before."""
    old = {point["learning_rate"] for point in tuning_points({"learning_rate": RATES}, 16)}
    new = [point["learning_rate"] for point in tuning_points({"learning_rate": LogUniform(1e-5, 1e-1)}, 16)]
    inside = [rate for rate in new if rate <= 1e-2]
    assert set(inside) <= old
    assert 8 <= len(inside) < 16


def test_listed_values_are_tried_in_order() -> None:
    """Listed axes give every combination once, the last axis changing fastest, in the declared order."""
    tune = {"loss": Choice("dice", "cross_entropy"), "learning_rate": Choice(1e-4, 1e-3, 1e-2)}
    points = [(point["loss"], point["learning_rate"]) for point in tuning_points(tune)]
    assert points == [(loss, rate) for loss in ("dice", "cross_entropy") for rate in (1e-4, 1e-3, 1e-2)]
    assert tuning_points(tune, 4) == tuning_points(tune)[:4]
    assert tuning_points(tune, 100) == tuning_points(tune)
    assert list(tuning_points({"learning_rate": Choice(1e-4, 1e-3, 1e-2)}, 3)[1].values()) == [1e-3]


MIXED = {"learning_rate": RATES, "weight_decay": Uniform(0.0, 0.1), "loss": Choice("dice", "cross_entropy", "focal")}


def test_listed_values_are_combined_with_ranges_in_rounds() -> None:
    """Every round, with one point per combination, tries each combination; ranges have the same values as without lists."""
    points = tuning_points(MIXED, 32)
    assert all(MIXED[axis].contains(value) for point in points for axis, value in point.items())
    for start in range(0, 30, 3):
        assert {point["loss"] for point in points[start : start + 3]} == {"dice", "cross_entropy", "focal"}
    alone = tuning_points({axis: MIXED[axis] for axis in ("weight_decay", "learning_rate")}, 32)
    assert [(point["learning_rate"], point["weight_decay"]) for point in points] == [
        (point["learning_rate"], point["weight_decay"]) for point in alone
    ]
    assert points[:9] == tuning_points(MIXED, 9)
    assert tuning_points(MIXED) == points[:8]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_listed_values_meet_all_parts_of_a_range(count: int) -> None:
    """Each listed value is tried in every quarter of a range; in a fixed order it would be bound to one part."""
    listed = Choice([f"{number}*dice" for number in range(1, count + 1)])
    points = tuning_points({"momentum": Uniform(0.0, 1.0), "loss": listed}, 24 * count)
    for loss in listed.values:
        counts, _ = np.histogram([point["momentum"] for point in points if point["loss"] == loss], bins=4, range=(0, 1))
        assert counts.sum() == 24
        assert counts.min() >= 2


@pytest.mark.parametrize(
    ("tune", "count", "remark"),
    [
        ({"learning_rate": RATES}, 3, None),
        ({}, 3, None),
        ({"momentum": Choice(0.8, 0.9, 0.95)}, None, None),
        ({"momentum": Choice(0.8, 0.9, 0.95)}, 3, None),
        ({"momentum": Choice(0.8, 0.9, 0.95), "learning_rate": RATES}, 4, None),
        (
            {"momentum": Choice(0.8, 0.9, 0.95)},
            2,
            "trials_per_cell=2: only 2 of the 3 combinations of the listed values of momentum are tried",
        ),
        (
            {"momentum": Choice(0.8, 0.9), "ema": Choice(None, 0.99)},
            8,
            "trials_per_cell=8: the listed values of momentum, ema have only 4 combinations, and each is tried once",
        ),
        (
            {"batch_size": Choice(list(range(1, 11))), "learning_rate": RATES},
            None,
            "trials_per_cell=8: only 8 of the 10 combinations of the listed values of batch_size are tried",
        ),
    ],
)
def test_a_count_unlike_the_number_of_combinations_gives_a_remark(
    tune: dict[str, Range], count: int | None, remark: str | None
) -> None:
    """If fewer or more trials are requested than there are combinations, a line states which are tried."""
    study = small_study(tune=tune, trials_per_cell=count)
    assert points_remarks(study) == ([remark] if remark else [])
    assert len(plan_of(study).cells[0].tuning) == len(tuning_points(tune, count))


def test_listed_rates_of_sources_are_tried_in_order_with_a_remark() -> None:
    """A source's listed rates are tried in order; a line states if fewer or more are requested."""
    rates = {"source_learning_rate": Choice(1e-4, 1e-3, 1e-2), "learning_rate": RATES}
    for count, tried, remark in ((3, 3, None), (2, 2, "source_trials=2: only 2 of the 3"), (4, 3, "source_trials=4: the listed")):
        study = small_study(compare={"source": ["supervised:voc2012"]}, tune=rates, source_trials=count)
        (cell,) = plan_of(study).cells
        assert [rate.learning_rate for rate in cell.source_rates] == [1e-4, 1e-3, 1e-2][:tried]
        assert [line.startswith(remark or "?") for line in points_remarks(study)] == ([True] if remark else [])


def test_no_axes_need_no_points() -> None:
    """A study that tunes nothing has no tuning trials."""
    assert tuning_points({}, 8) == []


def test_too_narrow_ranges_are_an_error() -> None:
    """A range that the points hardly ever meet is rejected, with the number of points inside."""
    with pytest.raises(UserError, match="of 8 tuning points lie in"):
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
    """A setting whose effect depends on a tuned one is set in exactly those points in which it has an effect; its compared values
    make separate cells."""
    (name, value) = list(fixed.items())[-1]
    others = {key: each for key, each in fixed.items() if key != name}
    default = type(small_study()._settings({})).model_fields[name].default
    compare = {"source": ["random"], **({name: [default, value]} if role == "compare" else {})}
    every = {"epochs": 4, "precision": "float32", **(others if role == "compare" else fixed)}
    plan = plan_of(small_study(compare=compare, tune={decides: Choice(values)}, fixed=every, trials_per_cell=8))
    assert len(plan.cells) == (2 if role == "compare" else 1)
    points = {getattr(trial.settings, decides): getattr(trial.settings, name) for trial in plan.cells[-1].tuning}
    assert points == {each: value if each in kept else default for each in values}
