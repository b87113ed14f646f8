"""The space of a search, and the suggestions of the samplers."""

import logging
import math
import warnings
from typing import Any

import pytest
from studies import plan_of, small_study

from segsweep.config import Choice, LogUniform, Search, Uniform
from segsweep.config.search import Sampler
from segsweep.sweep.search_sampler import Observation, suggest
from segsweep.sweep.search_space import Dimension, OutsideError, SearchSpace

COMPARED = {"source": ["random", "imagenet", "supervised:voc2012"], "transfer": ["encoder", "all"], "freeze": ["none", "encoder"]}
TUNED = {"learning_rate": LogUniform(1e-5, 1e-2), "weight_decay": Uniform(0.0, 0.1), "loss": Choice("dice", "focal")}


def space_of(**changes: Any) -> SearchSpace:
    """Return the space of a search over three sources, two transfers and two freeze policies."""
    study = small_study(**{"compare": COMPARED, "tune": TUNED, "search": Search(), **changes})
    return SearchSpace(plan_of(study).cells, study.tune)


def asked(space: SearchSpace, **wanted: Any) -> list[Dimension]:
    """Return the dimensions that a walk asks for, if it takes the wanted values and otherwise the first sample."""
    found: list[Dimension] = []

    def choose(dimension: Dimension) -> Any:
        found.append(dimension)
        return wanted.get(dimension.axis, dimension.tried.samples()[0])

    space.walk(choose)
    return found


def test_an_axis_without_effect_is_not_asked() -> None:
    """Random weights have no transfer, and an encoder of ImageNet only one: the search does not ask for it there."""
    space = space_of()
    assert "transfer" not in [each.axis for each in asked(space, source="random")]
    assert "transfer" not in [each.axis for each in asked(space, source="imagenet")]
    of_source = next(each for each in asked(space, source="supervised:voc2012") if each.axis == "transfer")
    assert of_source.tried == Choice("encoder", "all")


def test_the_axes_of_several_grids_are_asked_where_they_vary() -> None:
    """In a union of grids, an axis is asked only for the levels of the grid that the earlier decisions lead to."""
    grids = [
        {"source": ["random"], "architecture": ["unet-resnet18"], "freeze": ["none"]},
        {"source": ["imagenet"], "architecture": ["unet-resnet18", "unet-resnet50"], "freeze": ["none", "encoder"]},
    ]
    space = space_of(compare=grids)
    axes = {source: [each.axis for each in asked(space, source=source)][:3] for source in ("random", "imagenet")}
    assert axes == {"random": ["source", *list(TUNED)[:2]], "imagenet": ["source", "architecture", "freeze"]}


def test_a_tuned_axis_without_effect_is_not_asked() -> None:
    """Momentum is asked only with an optimiser that has it."""
    tune = {"momentum": Uniform(0.5, 0.99), "optimizer": Choice("adamw", "sgd")}
    space = space_of(tune=tune)
    assert [each.axis for each in asked(space, source="random", optimizer="adamw")][-1] == "optimizer"
    assert [each.axis for each in asked(space, source="random", optimizer="sgd")][-2:] == ["optimizer", "momentum"]


def test_a_trial_is_located_by_its_settings() -> None:
    """The settings of every walk lead back to the same decisions; other settings lie outside."""
    space = space_of()
    cell, settings = space.walk(lambda dimension: dimension.tried.samples()[-2])
    located = space.locate(settings.model_dump())
    assert located[:2] == (cell, settings)
    assert set(located[2]) == set(asked(space, source=settings.source))
    for change in ({"learning_rate": 0.5}, {"source": "coco-weights"}, {"epochs": 5}):
        with pytest.raises(OutsideError):
            space.locate({**settings.model_dump(), **change})


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_suggestion_is_repeated_by_its_seed_and_lies_in_the_space(
    sampler: Sampler, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Equal results and seeds give equal suggestions, without a warning or a line of Optuna's log."""
    space, known = space_of(), list[Observation]()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(20):
            _, settings = suggest(space, known, sampler, number)
            assert suggest(space, known, sampler, number)[1] == settings
            decided = space.locate(settings.model_dump())[2]
            known.append(
                Observation(decided, "finished" if number % 3 else "stopped", -abs(math.log10(settings.learning_rate) + 3))
            )
        if sampler != "gp":  # it suggests the best point of its model, whatever the seed
            assert suggest(space, known, sampler, 20)[1] != suggest(space, known, sampler, 21)[1]
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_failed_trials_repel_the_sampler() -> None:
    """A source whose trials all fail is suggested less than at random: they count as the worst finished trial."""
    space, known = space_of(compare={"source": ["random", "imagenet"]}), list[Observation]()
    for number in range(20):
        _, settings = suggest(space, known, "random", number)
        decided = space.locate(settings.model_dump())[2]
        failed = settings.source == "imagenet"
        known.append(Observation(decided, "failed" if failed else "finished", math.nan if failed else 0.5 + number / 100))
    of_source = [suggest(space, known, "tpe", 100 + number)[0].settings.source for number in range(40)]
    assert of_source.count("imagenet") <= 10
