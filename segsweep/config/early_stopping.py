"""Early stopping, as a study declares it. The rules themselves are in `segsweep.sweep.early_stopping`."""

from dataclasses import dataclass

from segsweep.errors import UserError


@dataclass(frozen=True)
class PerCellASHA:
    """Asynchronous successive halving among the tuning trials of one cell (Li et al. 2020, arXiv:1810.05934).

    At `grace_epochs`, and at each multiple of it by `reduction_factor`, a trial goes on only if its reading (validation IoU,
    unless the setting `keep` says otherwise) is among the best 1/`reduction_factor` of its cell at that epoch so far.
    """

    grace_epochs: int = 1
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        if self.grace_epochs < 1 or self.reduction_factor < 2:
            raise UserError(f"{self}: needs grace_epochs >= 1 and reduction_factor >= 2")


@dataclass(frozen=True)
class PerCellMedian:
    """The median stopping rule among the tuning trials of one cell (Golovin et al. 2017, Vizier, section 3.2).

    After `grace_epochs`, a trial stops when its best reading so far is below the median of the running averages
    of its cell's other trials at the same epoch, once `min_trials` of them have got there.
    """

    grace_epochs: int = 1
    min_trials: int = 3

    def __post_init__(self) -> None:
        if self.grace_epochs < 1 or self.min_trials < 1:
            raise UserError(f"{self}: needs grace_epochs >= 1 and min_trials >= 1")


EarlyStopping = PerCellASHA | PerCellMedian
