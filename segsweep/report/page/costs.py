"""What each cell cost: the time of its own trials, and its share of the sources that it uses."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.sources import with_those_before

MINUTE, HOUR = 60, 3600  # seconds
FEW_HOURS = 0.5  # costs are in minutes if no cell took longer


@dataclass(frozen=True)
class Costs:
    """The time of every cell, by its name, in `unit` ("GPU-h", "CPU-min", ...).

    `own` is that of all its trials; `shared` its share of the stages of its source: a stage's time is divided equally among the
    cells that start from it.
    """

    own: "pd.Series[float]"
    shared: "pd.Series[float]"
    unit: str

    @property
    def total(self) -> "pd.Series[float]":
        """The sum of both."""
        return self.own + self.shared


def cell_costs(records: Records) -> Costs:
    """Return what each cell cost so far."""
    trials, stages = records.trials[["cell", "stage_id", "seconds"]], records.stages
    own = trials.groupby("cell")["seconds"].sum().astype("float64")
    seconds = stages.groupby("stage_id")["seconds"].sum()
    used = {str(cell): with_those_before(records, rows.dropna()) for cell, rows in trials.groupby("cell")["stage_id"]}
    users = Counter(stage for of_cell in used.values() for stage in of_cell)
    shares = {cell: sum(float(seconds.get(stage, 0.0)) / users[stage] for stage in of_cell) for cell, of_cell in used.items()}
    shared = pd.Series(shares, dtype="float64").reindex(own.index).fillna(0.0)
    minutes = float((own + shared).max()) < FEW_HOURS * HOUR
    size = MINUTE if minutes else HOUR
    return Costs(own / size, shared / size, f"{_device(records)}-{'min' if minutes else 'h'}")


def _device(records: Records) -> str:
    """Return the kind of device on which the trials ran."""
    devices = records.trials["device"].dropna().astype(str)
    on_cpu = devices.str.startswith("cpu")
    if len(devices) and on_cpu.all():
        return "CPU"
    return "GPU" if len(devices) and not on_cpu.any() else "device"
