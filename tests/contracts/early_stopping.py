"""Contract of early-stopping rules, whatever they compare."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import ClassVar

from segsweep.config.early_stopping import NO_STOPPING, RULES, EarlyStopping, parse_early_stopping
from segsweep.config.keep import Reading
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.early_stopping import PerCellStopping

EPOCHS = 10  # planned length of every trial
CELL = "cell"
Curves = Mapping[str, Sequence[float]]


def report(stopping: PerCellStopping, trial: str, epoch: int, value: float, cell: str = CELL) -> bool:
    """Report one reading, and return whether the trial continues, at once or after a pause."""
    stopping.report(cell, trial, epoch, Reading(value))
    return Verdict(stopping.judge(cell, trial, epoch, EPOCHS)) is not Verdict.STOP


def report_curve(stopping: PerCellStopping, trial: str, values: Sequence[float], cell: str = CELL) -> list[bool]:
    """Report a whole curve, ignoring the decisions, and return the epochs after which the trial continues."""
    return [report(stopping, trial, epoch, value, cell) for epoch, value in enumerate(values, start=1)]


def random_curves(rng: random.Random, trials: int) -> dict[str, list[float]]:
    """Return noisy rising curves, rounded to two digits so that some readings are equal, with some NaN."""
    curves = {}
    for number in range(trials):
        level = rng.choice((rng.random(), 0.1))
        values = [round(level * (1 - 0.5**epoch) + rng.gauss(0, 0.03), 2) for epoch in range(1, EPOCHS + 1)]
        curves[f"trial{number}"] = [math.nan if rng.random() < 0.05 else value for value in values]
    return curves


def in_turns(rng: random.Random, curves: Curves) -> Iterable[tuple[str, int, float]]:
    """Yield (trial, epoch, reading) of all curves, each in order, with trials interleaved as parallel workers report them."""
    left = {trial: list(enumerate(values, start=1)) for trial, values in curves.items()}
    while left:
        trial = rng.choice(sorted(left))
        epoch, value = left[trial].pop(0)
        yield trial, epoch, value
        if not left[trial]:
            del left[trial]


class EarlyStoppingContract:
    """Tests of one rule. A subclass names its settings, with a grace period of at least two epochs."""

    settings: ClassVar[EarlyStopping | None]

    def stopping(self) -> PerCellStopping:
        """Return a rule that has received no report."""
        return PerCellStopping(self.settings)

    def test_a_lone_trial_is_never_stopped(self) -> None:
        """The only trial of its cell continues with any readings: falling, constant, noisy or NaN."""
        for values in ([1 - 0.1 * at for at in range(EPOCHS)], [0.1] * EPOCHS, [0.5, math.nan] * 5, [math.nan] * EPOCHS):
            assert all(report_curve(self.stopping(), "lone", values))

    def test_a_trial_that_leads_everywhere_is_never_stopped(self) -> None:
        """The trial with the best reading at every epoch continues, in whatever order the epochs arrive."""
        for seed in range(30):
            rng = random.Random(seed)
            curves = random_curves(rng, 6)
            columns = zip(*curves.values(), strict=True)
            best = [max((each for each in column if not math.isnan(each)), default=0.0) for column in columns]
            curves["leader"] = [value + 0.01 for value in best]
            stopping = self.stopping()
            answers = [(event[0], report(stopping, *event)) for event in in_turns(rng, curves)]
            assert all(goes_on for trial, goes_on in answers if trial == "leader"), seed

    def test_a_trial_that_failed_stops_no_other(self) -> None:
        """Decisions are those of a cell without the failed trial, however good its readings were."""
        for seed in range(10):
            curves = random_curves(random.Random(seed), 4)
            with_failed, without = self.stopping(), self.stopping()
            report_curve(with_failed, "failed", [0.9] * 7)
            with_failed.ended(CELL, "failed", "failed")
            for event in in_turns(random.Random(seed), curves):
                assert report(with_failed, *event) == report(without, *event), (seed, event)

    def test_the_order_in_which_a_resume_reports_does_not_matter(self) -> None:
        """A rule filled from records, in any order and with repeats, decides as the rule that received the original reports."""
        for seed in range(20):
            rng = random.Random(seed)
            curves, ends = random_curves(rng, 6), ("finished", "stopped", "failed", None)
            recorded = {trial: values[: rng.randint(1, EPOCHS)] for trial, values in curves.items()}
            ended = {trial: rng.choice(ends) for trial in recorded}
            first, again = list(in_turns(rng, recorded)), list(in_turns(rng, recorded))
            answers = []
            for order in (first, [*again, *first]):
                stopping = self.stopping()
                for event in order:
                    report(stopping, *event)
                for trial in rng.sample(sorted(ended), k=len(ended)):
                    if status := ended[trial]:
                        stopping.ended(CELL, trial, status)
                answers.append(report_curve(stopping, "next", curves["trial0"]))
            assert answers[0] == answers[1], seed

    def test_nan_is_the_worst_reading(self) -> None:
        """NaN stops no trial with a number, and a trial with only NaN is stopped beside trials with numbers."""
        stopping = self.stopping()
        for number in range(5):
            report_curve(stopping, f"nan{number}", [math.nan] * EPOCHS)
        assert all(report_curve(stopping, "low", [-1e9] * EPOCHS))
        stopping = self.stopping()
        for number in range(5):
            report_curve(stopping, f"low{number}", [-1e9] * EPOCHS)
        assert all(report_curve(stopping, "nan", [math.nan] * EPOCHS)) == (self.settings is None)

    def test_equal_trials_all_continue(self) -> None:
        """Trials with equal readings never stop each other, even if the mean of equal readings is rounded up."""
        assert fmean([0.1] * 3) > 0.1
        for seed, values in enumerate(([0.1] * EPOCHS, [0.5 - 0.01 * at for at in range(EPOCHS)], [math.nan] * EPOCHS)):
            stopping = self.stopping()
            curves = {f"trial{number}": values for number in range(5)}
            assert all(report(stopping, *event) for event in in_turns(random.Random(seed), curves))

    def test_some_trial_of_a_cell_finishes(self) -> None:
        """Among parallel trials that the rule stops, at least one is never stopped, even with equal readings."""
        for seed in range(40):
            rng, stopping = random.Random(seed), self.stopping()
            curves = random_curves(rng, rng.randint(2, 8))
            stopped = set[str]()
            for trial, epoch, value in in_turns(rng, curves):
                if trial not in stopped and not report(stopping, trial, epoch, value):
                    stopping.ended(CELL, trial, "stopped")
                    stopped.add(trial)
                elif trial not in stopped and epoch == EPOCHS:
                    stopping.ended(CELL, trial, "finished")
            assert len(stopped) < len(curves), seed

    def test_only_curves_of_the_cell_count(self) -> None:
        """Decisions do not depend on another cell, whether its trials are all better, all worse, or have equal names."""
        for seed in range(10):
            curves = random_curves(random.Random(seed), 5)
            alone, beside = self.stopping(), self.stopping()
            for event in in_turns(random.Random(seed), curves):
                for cell, shift in (("strong", 1.0), ("weak", -1.0)):
                    report(beside, event[0], event[1], event[2] + shift, cell)
                assert report(alone, *event) == report(beside, *event), (seed, event)

    def test_grace_epochs_hold(self) -> None:
        """A trial far behind continues before `grace_epochs` and is stopped by its last epoch; without a rule it is not."""
        stopping = self.stopping()
        for number in range(5):
            report_curve(stopping, f"good{number}", [0.9] * EPOCHS)
        answers = report_curve(stopping, "bad", [0.1] * EPOCHS)
        if self.settings is None:
            assert all(answers)
            return
        assert self.settings.grace_epochs >= 2
        assert all(answers[: self.settings.grace_epochs - 1])
        assert not answers[self.settings.grace_epochs - 1]

    def test_settings_round_trip_through_their_text(self) -> None:
        """A command line can name these settings, and different settings have different texts in the records."""
        if self.settings is None:
            assert parse_early_stopping(NO_STOPPING) is None
            return
        (name,) = (name for name, rule in RULES.items() if isinstance(self.settings, rule))
        parameters = asdict(self.settings)
        parsed = parse_early_stopping(f"{name}({','.join(f'{key}={value}' for key, value in parameters.items())})")
        assert parsed == self.settings
        assert str(parsed) == str(self.settings)
        changed = [type(self.settings)(**{**parameters, key: value + 1}) for key, value in parameters.items()]
        assert len({str(rule) for rule in (self.settings, *changed)}) == 1 + len(parameters)
