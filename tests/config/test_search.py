"""The declaration of a search, and the studies that a search refuses."""

from dataclasses import replace
from typing import Any

import pytest

from segsweep.config import LogUniform, Search, Study, Target
from segsweep.errors import UserError

AXES = {"source": ["random", "imagenet"], "fraction": [0.2, 1.0, 0.5]}
RATE = {"learning_rate": LogUniform(1e-4, 1e-2)}


def searching(**changes: Any) -> Study:
    """Return a search over two sources and a range of learning rates."""
    values: dict[str, Any] = {"name": "s", "target": Target("pets"), "compare": AXES, "tune": RATE, "search": Search()}
    return Study(**{**values, **changes})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trials": 0}, "Search trials=0: must be a whole number >= 1"),
        ({"confirm": 1.5}, "Search confirm=1.5: must be a whole number >= 1"),
        ({"sampler": "best"}, "Search: sampler: unknown name 'best'; known: tpe, gp, random"),
        ({"axes": ["freeze"]}, "Search axes='freeze': allowed are fraction, dev_share; every other axis is searched anyway"),
        ({"warm_start": 3}, "Search warm_start=3: must be a list of texts"),
    ],
)
def test_a_wrong_value_of_a_search_is_refused(values: dict[str, Any], message: str) -> None:
    """The message names the field, the value and what is allowed."""
    with pytest.raises(UserError) as error:
        Search(**values)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": 20}, "search=20: must be a Search or None"),
        ({"target": Target("pets", protocol="5-fold")}, "search with protocol '5-fold': a search compares trials on one split"),
        ({"compare": {**AXES, "image_px": [64, 128]}}, "search with image_px compared: readings at different image sizes"),
        ({"compare": {**AXES, "keep": ["val_iou", "last"]}}, "search with keep compared"),
        ({"compare": {**AXES, "test_size": ["image_px", "original"]}}, "search with test_size compared: it has no effect before"),
        ({"compare": {"loss": ["dice", "focal"]}, "fixed": {"keep": "val_loss"}}, "values of different losses"),
        ({"compare": {"fraction": [0.2, 1.0]}, "tune": {}}, "search has one setting to try"),
    ],
)
def test_a_study_that_a_search_cannot_handle_is_refused(changes: dict[str, Any], message: str) -> None:
    """The error is raised when the study is declared, and names the reason."""
    with pytest.raises(UserError, match="study s: ") as error:
        searching(**changes)
    assert message in str(error.value)


def test_a_search_uses_the_largest_fraction_unless_it_searches_fractions() -> None:
    """More data is not a choice: the cells of a search have the largest fraction, or all if it asks for them."""
    assert {settings.fraction for _, settings in searching().cells()} == {1.0}
    every = searching(search=Search(axes=("fraction",)))
    assert {settings.fraction for _, settings in every.cells()} == {0.2, 0.5, 1.0}
    assert {settings.fraction for _, settings in replace(searching(), search=None).cells()} == {0.2, 0.5, 1.0}
