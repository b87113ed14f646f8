"""The readings of every tuning trial of real studies without early stopping, as a small CSV for the replay of stopping rules.

python -m tests.benchmarks.tuning_curves runs/STUDY ... > tests/benchmarks/tuning_curves.csv
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from segsweep.records import Records, load
from segsweep.records.readings import curves_of

RECORDED = Path(__file__).with_name("tuning_curves.csv")


def curves_table(records: Records) -> pd.DataFrame:
    """Return a row an epoch of every planned tuning trial: `cell` (after the study's name), `trial`, `point`, `epoch`, `reading`.

    Cells in which a trial did not finish are left out: a replay needs its complete curve.
    """
    trials = records.trials[records.trials["phase"] == "tune"]
    whole = trials.groupby("cell")["status"].transform(lambda status: (status == "finished").all())
    curves = curves_of(records.trials, records.epochs, "tune")
    rows = [
        {"cell": f"{records.study['name']}: {cell}", "trial": trial, "point": point, "epoch": epoch, "reading": found.value}
        for cell, trial, point in trials.loc[whole, ["cell", "trial_id", "point"]].itertuples(index=False)
        for epoch, found in sorted(curves[trial].items())
    ]
    return pd.DataFrame(rows, columns=["cell", "trial", "point", "epoch", "reading"])


def read_curves(path: Path) -> list[np.ndarray]:
    """Return the readings (trials in the order of their points, epochs) of every cell whose trials all have equally many."""
    cells = [cell.pivot(index="point", columns="epoch", values="reading") for _, cell in pd.read_csv(path).groupby("cell")]
    return [cell.to_numpy() for cell in cells if not cell.isna().to_numpy().any()]


if __name__ == "__main__":
    tables = [curves_table(load(folder)) for folder in sys.argv[1:]]
    pd.concat(tables).to_csv(sys.stdout, index=False, float_format="%.5f")
