"""Which runs a longer one can continue."""

from typing import Any

import pytest

from segsweep.config.settings import Settings
from segsweep.config.shorter_run import ShorterRun
from segsweep.config.study import Target
from segsweep.config.work import Trial


def trial(**settings: Any) -> Trial:
    """Return a tuning trial with some settings."""
    return Trial("s", "c", "tune", Settings.build(architecture="unet4", **settings), 0, Target("pets"), "data")


@pytest.mark.parametrize(
    ("length", "settings", "expected"),
    [
        (ShorterRun("r", 2, None, 10), {"epochs": 3}, True),
        (ShorterRun("r", 3, None, 10), {"epochs": 3}, False),
        (ShorterRun("r", 4, None, 10), {"epochs": 3}, False),
        (ShorterRun("r", 2, None, 10), {"epochs": 3, "schedule": "poly"}, False),
        (ShorterRun("r", 2, None, 10), {"epochs": 3, "warmup": 0.1}, False),
        (ShorterRun("r", None, 20, 2), {"steps": 30, "validations": 3}, True),
        (ShorterRun("r", None, 20, 2), {"steps": 33, "validations": 3}, False),  # validations after 11 steps, not 10
        (ShorterRun("r", None, 20, 2), {"epochs": 3}, False),
        (ShorterRun("r", 2, None, 10), {"steps": 30, "validations": 3}, False),
    ],
)
def test_a_run_begins_a_longer_one_only_with_equal_results(length: ShorterRun, settings: dict[str, Any], expected: bool) -> None:
    """Its learning rate must not depend on the length, and its results must follow equal numbers of steps."""
    assert length.begins(trial(**settings)) == expected


def test_the_shorter_trial_has_the_id_of_its_declaration() -> None:
    """It is the trial that a study with the shorter length declares."""
    assert ShorterRun("r", 2, None, 10).of(trial(epochs=3)).trial_id == trial(epochs=2).trial_id
    assert ShorterRun("r", None, 20, 2).of(trial(steps=30, validations=3)).trial_id == trial(steps=20, validations=2).trial_id
