"""Studies declared with numbers of other libraries and with texts."""

from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from segsweep.config import Choice, File, LogUniform, PerCellRacing, Settings, Study, Supervised, Target, Uniform
from segsweep.config.plain import listed, plain
from segsweep.config.work import Trial
from segsweep.errors import UserError


class Size(Enum):
    """A user's own names for values."""

    SMALL = 32


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (np.float64(1e-4), 1e-4),
        (np.float32(1e-4), 1e-4),
        (np.float16(0.1), 0.1),
        (np.int64(3), 3),
        (np.array(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("dice"), "dice"),
        (torch.tensor(0.1), 0.1),
        (torch.tensor(7), 7),
        (pd.Series([0.2])[0], 0.2),
        (Decimal("0.3"), 0.3),
        (Fraction(1, 4), 0.25),
        (Size.SMALL, 32),
        (Path("/a/b"), "/a/b"),
        (None, None),
        ((1, 2), (1, 2)),
    ],
)
def test_a_value_of_any_library_is_the_plain_one(value, meant):
    """A number of numpy, pandas or torch, a path, or an enumeration member becomes the plain number or text."""
    found = plain(value)
    assert (found, type(found)) == (meant, type(meant))


@pytest.mark.parametrize("values", [[0.1, 1], (0.1, 1), np.array([0.1, 1.0]), np.float32([0.1, 1]), pd.Series([0.1, 1.0])])
def test_arrays_are_lists(values):
    """A one-dimensional array is the list of its values; a text, a number and a table are not lists."""
    assert listed(values) == [0.1, 1]
    assert [listed(other) for other in ("ab", 3, np.zeros((2, 2)), {0.1, 1}, np.array(1))] == [None] * 5


def declared(number, array) -> Study:
    """Return a study whose numbers and lists are made by the given functions."""
    return Study(
        name="s",
        target=Target("pets"),
        compare={"fraction": array([0.2, 0.5]), "source": ["random", Supervised("voc2012", limit=number(50))]},
        tune={"learning_rate": LogUniform(number(1e-4), number(1e-2)), "weight_decay": Choice(array([0.0, 1e-4]))},
        fixed={"image_px": number(32), "epochs": number(3), "batch_size": number(4), "momentum": number(0.5), "optimizer": "sgd"},
        trials_per_cell=number(4) if number is not str else 4,
        seeds=number(2) if number is not str else 2,
        early_stopping=PerCellRacing(margin=number(0.01), grace_epochs=number(2))
        if number is not str
        else PerCellRacing(0.01, 0.015, 2),
    )


NUMPY = lambda value: np.int64(value) if isinstance(value, int) else np.float64(value)  # noqa: E731
SHORT = lambda value: np.int16(value) if isinstance(value, int) else np.float32(value)  # noqa: E731


@pytest.mark.parametrize(
    ("number", "array"),
    [
        (NUMPY, np.array),
        (SHORT, lambda values: np.array(values, np.float32)),
        (str, lambda values: list(map(str, values))),
        (NUMPY, pd.Series),
    ],
    ids=["numpy", "short", "text", "pandas"],
)
def test_a_study_is_the_same_whichever_numbers_declare_it(number, array):
    """Numbers of numpy and pandas, and texts, declare the same cells, ranges and trials as plain numbers."""
    usual, other = declared(lambda value: value, list), declared(number, array)
    assert (other.tune, other.trials_per_cell, other.seeds) == (usual.tune, usual.trials_per_cell, usual.seeds)
    assert other.early_stopping == usual.early_stopping
    assert [name for name, _ in other.cells()] == [name for name, _ in usual.cells()]
    ids = [
        [Trial("s", name, "tune", settings, 0, study.target, "data").trial_id for name, settings in study.cells()]
        for study in (usual, other)
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("kind", [LogUniform, Uniform])
@pytest.mark.parametrize("ends", [("low", 1.0), (1e-4, None), (True, 2.0), (1e-4, "nan"), (1e-4, float("inf")), ([1e-4], 1e-2)])
def test_a_range_of_no_numbers_is_one_line(kind, ends):
    """An end of a range that is not a finite number raises an error that shows the range."""
    with pytest.raises(UserError, match=rf"^{kind.__name__}\(.*\): .* is not a finite number; give a number such as 1e-4$"):
        kind(*ends)


def test_values_of_a_choice_are_the_settings_own():
    """A listed text is parsed to its number; a number that occurs twice, or that the setting does not allow, is refused."""
    study = Study(name="s", target=Target("pets"), compare={}, tune={"learning_rate": Choice("1e-3", 1e-2, "0.1")})
    assert study.tune["learning_rate"].values == (1e-3, 1e-2, 0.1)
    assert study.tune["learning_rate"].at_edge(1e-3)
    for values in (("1e-3", 1e-3), ("fast",)):
        with pytest.raises(UserError):
            Study(name="s", target=Target("pets"), compare={}, tune={"learning_rate": Choice(*values)})
    with pytest.raises(UserError, match="needs at least one value"):
        Choice([])


def test_a_path_object_is_the_folder_of_a_dataset(tmp_path):
    """A path object in place of a dataset means `folder:PATH`."""
    study = Study(name="s", target=Target(tmp_path), compare={"source": [Supervised(tmp_path / "a+b")]})
    assert study.target_name == f"folder:{tmp_path}"
    assert [cell.source for _, cell in study.cells()] == [f"supervised:folder:{tmp_path}/a%2Bb"]


def test_a_file_takes_normalisation_of_numpy():
    """Mean and standard deviation of a weight file may be numbers and arrays of numpy."""
    three = np.array([0.1, 0.2, 0.3], np.float32)
    assert File("w.pth", mean=three, std=np.float32(0.5)).stage == File("w.pth", mean=[0.1, 0.2, 0.3], std=0.5).stage


def test_settings_take_numbers_of_numpy():
    """Settings that are built directly contain plain numbers too."""
    settings = Settings.build(epochs=np.int32(2), learning_rate=np.float32(1e-3))
    assert settings == Settings.build(epochs=2, learning_rate=1e-3)
    assert type(settings.learning_rate) is float
