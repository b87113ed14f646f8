"""The cost model: predicted durations of stages, trials and scores, from earlier runs and from probes of this machine."""

import math
from collections.abc import Iterable
from functools import cached_property
from statistics import fmean

from segsweep.config.early_stopping import PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.settings import Settings
from segsweep.config.source_score import ScoreSpec
from segsweep.config.work import StageSpec
from segsweep.data.dataset import Notify
from segsweep.source_score import IMAGES as MOST_SCORED
from segsweep.source_score import RANDOM_SEEDS
from segsweep.store.contents import SPEEDS
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.estimate import Estimate
from segsweep.sweep.plan import Plan
from segsweep.sweep.speed_keys import stage_key, trial_key
from segsweep.sweep.speeds import Measure, Speed, Speeds
from segsweep.tasks.task import Task
from segsweep.training.device import Device
from segsweep.training.probe import MOST_ASKED, MOST_KNOWN
from segsweep.training.self_supervised import MOST_HELD_OUT
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import is_current

# share of the epochs of all tuning trials but the best that a rule runs, from the replay in sweeps/README.md
RULE_SHARES = {PerCellRacing: 0.28, PerCellASHA: 0.36, PerCellMedian: 0.81}
SCORE_SECONDS = 1.1  # computing scores from features of sampled pixels, which are equally many at every size: measured
UNSTOPPED = 0.6  # a range of shares begins at this part of the expected one
RECORDED_SHARE = 1.25  # factor within which the share of a later run lies


class CostModel:
    """Predicts the seconds of stages, trials and scores on one device.

    It probes the device on first use, unless the store knows its speeds. If the stored timings are unreadable, `notify` receives
    a line.
    """

    def __init__(self, plan: Plan, catalog: Catalog, device: Device, measure: Measure, notify: Notify) -> None:
        self._plan, self._catalog = plan, catalog
        self._classes = len(catalog.classes(plan.study.target_name, plan.study.target.classes))
        self.speeds = Speeds(lambda: catalog.store.text(SPEEDS), device, measure, notify)

    # --- Seconds without early stopping -----------------------------------------------------------------------------------

    def stage(self, spec: StageSpec) -> float:
        """Return the seconds of a stage; 0 for published weights and weight files."""
        if spec.stage.dataset is None:
            return 0.0
        train, val = self._catalog.stage_sizes(spec)
        settings, key = spec.settings, self.stage_key(spec)
        trained = trained_images(settings["epochs"], settings["steps"], train, settings["batch_size"])
        results = int(settings["epochs"] or settings.get("validations") or 1)
        speed = self.speeds.of(key)
        if not spec.stage.self_supervised:
            return _seconds(speed, trained, results * val, 0, results)
        compared = 0 if speed.is_recorded else min(train, MOST_KNOWN) + min(val, MOST_ASKED)  # the k-NN probe
        return _seconds(speed, trained, results * min(val, MOST_HELD_OUT) + compared, 0, results)

    def trial(self, settings: Settings, tested: bool) -> float:
        """Return the seconds of one trial without early stopping; with its test if `tested`."""
        train, val, _ = self._catalog.target_sizes(self._plan.study, settings.dev_share)
        count = round(settings.fraction * train) * (1 + settings.augmented_copies)
        trained = trained_images(settings.epochs, settings.steps, count, settings.batch_size)
        speed = self.speeds.of(self.trial_key(settings))
        return _seconds(speed, trained, settings.results * val, self.tested_images(settings) if tested else 0, settings.results)

    def score(self, spec: ScoreSpec) -> float:
        """Return the seconds of scoring a source: its encoder sees some images once."""
        key = self.trial_key(spec.settings)
        if (recorded := self.speeds.timings.scores.get(key.text)) is not None:
            return recorded
        return SCORE_SECONDS + self._scored_images(spec) * self.speeds.of(key).evaluate

    def seconds(self, task: Task) -> float:
        """Return the seconds of a task on one worker, without early stopping."""
        return task.seconds(self)

    def total(self, missing: Iterable[StageSpec]) -> float:
        """Return the seconds of all trials of the plan and of the `missing` stages, in sequence, without early stopping.

        The trials of a search, whose cells are not known before, have the mean price over all cells.
        """
        stages = sum(self.stage(spec) for spec in missing)
        tuning = sum(self.trial(trial.settings, tested=False) for cell in self._plan.cells for trial in cell.tuning)
        confirmed = sum(self.trial(cell.settings, tested=True) for cell in self._plan.cells) * self._plan.study.seeds
        if self._plan.study.search is not None:
            tuning = self._plan.tuning_trials * fmean(self.trial(cell.settings, tested=False) for cell in self._plan.cells)
            confirmed *= self._plan.confirmation_trials / (len(self._plan.cells) * self._plan.study.seeds)
        return stages + tuning + confirmed

    # --- Estimates --------------------------------------------------------------------------------------------------------

    def estimate(self, task: Task) -> Estimate:
        """Return the seconds of a task on one worker with their range; those of a tuning trial as early stopping shortens it."""
        key = self.key(task)
        found = Estimate.within(self.seconds(task), 1.0 if key is None else self.speeds.of(key).factor)
        return found * self.tuning_share if getattr(task.spec, "phase", None) in ("tune", "search") else found

    @cached_property
    def tuning_share(self) -> Estimate:
        """The share of their planned epochs that tuning trials run, in 0..1: 1 without early stopping.

        It is that of an earlier study with the same rule, number of tuning trials and number of results; if that tuned other
        ranges, the range reaches up to 1. Without such a study it follows from the rule alone, with a wide range.
        """
        if (rule := self._plan.study.early_stopping) is None or not self._plan.tuning_trials:
            return Estimate.exact(1.0)
        of_equal_ranges, of_any = self.share_keys
        for key in (of_equal_ranges, of_any):
            recorded = self.speeds.timings.tuning.get(key)
            if recorded is not None and is_current(recorded.at):
                high = min(1.0, recorded.share * RECORDED_SHARE) if key == of_equal_ranges else 1.0
                return Estimate(recorded.share / RECORDED_SHARE, recorded.share, high)
        best = 1 / self._compared_trials  # at least one of the compared trials runs all epochs
        rest = (1 - best) * RULE_SHARES.get(type(rule), 1.0)
        return Estimate(best + UNSTOPPED * rest, best + rest, 1.0)

    @property
    def _compared_trials(self) -> int:
        """The number of trials that early stopping compares: those of a cell, or of the whole search."""
        search = self._plan.study.search
        return len(self._plan.cells[0].tuning) if search is None else search.trials

    @property
    def share_keys(self) -> tuple[str, str]:
        """What the share of tuning epochs depends on, as texts: with the tuned ranges, and without them.

        Both have the rule, the trials of a cell and the results of a trial. Narrower ranges stop fewer trials.
        """
        study, cell = self._plan.study, self._plan.cells[0]
        any_range = f"{study.early_stopping}, {self._compared_trials} trials, {cell.settings.results} results"
        return f"{any_range}, {dict(study.tune)}", any_range

    # --- Keys and sizes ---------------------------------------------------------------------------------------------------

    def key(self, task: Task) -> SpeedKey | None:
        """Return the key of the speed that prices a task; None for a stage that trains nothing."""
        if isinstance(task.spec, StageSpec):
            return None if task.spec.stage.dataset is None else self.stage_key(task.spec)
        return self.trial_key(task.spec.settings)

    def trial_key(self, settings: Settings) -> SpeedKey:
        """Return the key of the speed of trials with some settings."""
        return trial_key(self.speeds.kind, settings, self._classes)

    def stage_key(self, spec: StageSpec) -> SpeedKey:
        """Return the key of the speed of a stage that trains."""
        assert spec.stage.dataset is not None
        classes = 0 if spec.stage.self_supervised else len(self._catalog.classes(spec.stage.dataset, None))
        return stage_key(self.speeds.kind, spec, classes)

    def test_images(self, settings: Settings) -> int:
        """Return the number of the target's test images."""
        return self._catalog.target_sizes(self._plan.study, settings.dev_share)[2]

    def tested_images(self, settings: Settings) -> int:
        """Return the number of images that the test of a confirmed run predicts.

        With a domain shift these are also those of the source model on the test images, and of both models on the source's own.
        """
        test = self.test_images(settings)
        return test + (test + 2 * self._source_images(settings) if settings.domain_shift == "on" else 0)

    def _scored_images(self, spec: ScoreSpec) -> int:
        """Return the number of images that the scores of a source use, over all seeds of random weights."""
        settings = spec.settings
        train, _, _ = self._catalog.target_sizes(self._plan.study, settings.dev_share)
        return min(round(settings.fraction * train), MOST_SCORED) * (1 if spec.stage is not None else RANDOM_SEEDS)

    def _source_images(self, settings: Settings) -> int:
        """Return the number of validation images of a source's last stage; 0 if that is not a supervised stage."""
        last = settings.chain.last
        if last is None or not last.supervised or last.dataset is None:
            return 0
        return self._catalog.source_sizes(last.dataset, last.limit, settings.source_split)[1]


def trained_images(epochs: int | None, steps: float | None, count: int, batch_size: int) -> float:
    """Return the number of images that training sees, from `count` images; the last batch of a pass may be smaller.

    Either `epochs` or `steps` is the length.
    """
    if epochs is not None:
        return float(epochs * count)
    return float((steps or 0) * (count / math.ceil(count / batch_size) if count else batch_size))


def _seconds(speed: Speed, trained: float, evaluated: float, tested: float, results: int) -> float:
    """Return the seconds of a run: its images, and building, checkpoints and weights, where building counts as one result."""
    images = trained * speed.train + evaluated * speed.evaluate + tested * speed.test
    return float(images + (1 + results) * speed.result)
