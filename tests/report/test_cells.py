"""Which run of several is the best."""

import pandas as pd
import pytest

from segsweep.report.cells import best_first


@pytest.mark.parametrize(
    ("keep", "losses", "best"),
    [("val_iou", ("dice", "dice"), "a"), ("val_loss", ("dice", "dice"), "b"), ("val_loss", ("dice", "0.1*cross_entropy"), "a")],
)
def test_runs_are_ranked_by_what_compares(keep, losses, best):
    """Runs are ranked by the measure that they kept epochs by; by validation IoU where that is the value of different losses."""
    trials = pd.DataFrame(
        {
            "trial_id": ["a", "b"],
            "keep": keep,
            "loss": losses,
            "val_iou": [0.6, 0.5],
            "val_loss": [0.7, 0.1],
            "val_dice": [0.7, 0.6],
        }
    )
    assert best_first(trials)["trial_id"].iloc[0] == best
