"""Runs that a longer run can continue: a run of more epochs, or steps, begins as a shorter one if its schedule is constant."""

from dataclasses import dataclass, replace

from segsweep.config.settings import Settings
from segsweep.config.work import Trial


@dataclass(frozen=True)
class ShorterRun:
    """A length of finished runs, whose checkpoints may have been kept, in the study with the records `records_id`.

    The length is that of the settings `epochs`, `steps` and `validations`.
    """

    records_id: str
    epochs: int | None
    steps: int | None
    validations: int

    @property
    def results(self) -> int:
        """Number of validations of the run."""
        return self.epochs or self.validations

    def of(self, trial: Trial) -> Trial:
        """Return the trial that has this length and is otherwise equal."""
        length = {"epochs": self.epochs, "steps": self.steps, "validations": self.validations}
        return replace(trial, settings=trial.settings.model_copy(update=length))

    def begins(self, trial: Trial) -> bool:
        """Return whether a run of this length is the beginning of a trial.

        The first results of a trial depend on its length if the learning rate does, or if its validations lie elsewhere.
        """
        settings = trial.settings
        return self.results < settings.results and not depends_on_length(settings) and self._same_results(settings)

    def _same_results(self, settings: Settings) -> bool:
        """Return whether the results of both runs follow the same numbers of steps."""
        if self.steps is None or settings.steps is None:
            return self.steps is None and settings.steps is None
        return self.steps * settings.validations == settings.steps * self.validations


def depends_on_length(settings: Settings) -> bool:
    """Return whether the learning rate at a step depends on the length of the run."""
    return settings.schedule != "constant" or settings.warmup > 0
