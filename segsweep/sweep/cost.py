"""The cost model: predicted durations of stages and trials, from training speeds measured on this machine."""

from collections.abc import Callable, Iterable
from functools import cache, cached_property

from segsweep.config.settings import Settings
from segsweep.config.source_score import ScoreSpec
from segsweep.config.work import StageSpec
from segsweep.data.dataset import Notify
from segsweep.source_score import IMAGES as MOST_SCORED
from segsweep.source_score import RANDOM_SEEDS
from segsweep.store.contents import SPEEDS
from segsweep.store.protocol import SharedText
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.plan import Plan
from segsweep.sweep.small_stem import stem_left_out
from segsweep.tasks.task import Task
from segsweep.training.device import Device
from segsweep.training.probe import MOST_ASKED, MOST_KNOWN
from segsweep.training.self_supervised import MOST_HELD_OUT
from segsweep.training.speed import drop_damaged

Measure = Callable[..., tuple[float, float]]  # as `segsweep.training.speed.measure_speed`
SECONDS_PER_RUN = 0.3  # building a model, loading weights, checkpoints


class CostModel:
    """Predicts the seconds of stages and trials on one device, without early stopping.

    It measures speeds on first use, unless the store has them. If the stored speeds are unreadable, `notify` receives a line.
    """

    def __init__(self, plan: Plan, catalog: Catalog, device: Device, measure: Measure, notify: Notify) -> None:
        self._plan, self._catalog, self._device, self._measure = plan, catalog, device, cache(measure)
        self._classes = len(catalog.classes(plan.study.target_name, plan.study.target.classes))
        self._notify = notify

    @cached_property
    def _speeds(self) -> SharedText:
        """The store's text with measured speeds, after removal of unreadable ones."""
        speeds = self._catalog.store.text(SPEEDS)
        if (damaged := drop_damaged(speeds)) is not None:
            self._notify(damaged)
        return speeds

    def stage(self, spec: StageSpec) -> float:
        """Return the seconds of a stage; 0 for published weights and weight files."""
        if spec.stage.dataset is None:
            return 0.0
        train, val = self._catalog.stage_sizes(spec)
        if spec.stage.self_supervised:
            return self._pretraining(spec, train, val)
        classes = len(self._catalog.classes(spec.stage.dataset, None))
        settings = Settings.build(
            **{name: spec.settings[name] for name in ("image_px", "batch_size", "precision")}, architecture=spec.model
        )
        return self._run(settings, classes, train, val, 0, spec.settings["epochs"], spec.settings["steps"])

    def _pretraining(self, spec: StageSpec, train: int, val: int) -> float:
        settings = spec.settings
        sizes = (settings["image_px"], settings["batch_size"])
        train_speed, predict_speed = self._measure(
            spec.model,
            0,
            *sizes,
            spec.stage.kind,
            settings["precision"],
            self._device,
            self._speeds,
            settings.get("stem") == "small",
        )
        trained = settings["epochs"] * train if settings["epochs"] is not None else settings["steps"] * settings["batch_size"]
        matched = (settings["epochs"] or settings["validations"]) * min(val, MOST_HELD_OUT)
        predicted = matched + min(train, MOST_KNOWN) + min(val, MOST_ASKED)  # the k-NN probe: two encoders, one view each
        return float(SECONDS_PER_RUN + trained / train_speed + predicted / predict_speed)

    def trial(self, settings: Settings, tested: bool) -> float:
        """Return the seconds of one trial; with its test if `tested`."""
        train, val, test = self._catalog.target_sizes(self._plan.study, settings.dev_share)
        count = round(settings.fraction * train) * (1 + settings.augmented_copies)
        if tested and settings.domain_shift == "on":  # the source model on the test images, and two models on the source's own
            test += test + 2 * self._source_images(settings)
        return self._run(settings, self._classes, count, val, test if tested else 0, settings.epochs, settings.steps)

    def score(self, spec: ScoreSpec) -> float:
        """Return the seconds of scoring a source: its encoder sees some images once."""
        settings = spec.settings
        train, _, _ = self._catalog.target_sizes(self._plan.study, settings.dev_share)
        images = min(round(settings.fraction * train), MOST_SCORED) * (1 if spec.stage is not None else RANDOM_SEEDS)
        return SECONDS_PER_RUN + self._run(settings, self._classes, 0, images, 0, 1, None)

    def _source_images(self, settings: Settings) -> int:
        """Return the number of validation images of a source's last stage; 0 if that is not a supervised stage."""
        last = settings.chain.last
        if last is None or not last.supervised or last.dataset is None:
            return 0
        return self._catalog.source_sizes(last.dataset, last.limit, settings.source_split)[1]

    def _run(
        self, settings: Settings, classes: int, train: int, val: int, test: int, epochs: int | None, steps: int | None
    ) -> float:
        train_speed, predict_speed = self._measure(
            settings.architecture,
            1 if settings.output == "sigmoid" else classes,
            settings.image_px,
            settings.batch_size,
            "none" if stem_left_out(settings) else settings.freeze,  # training the stem backpropagates through the encoder
            settings.precision,
            self._device,
            self._speeds,
            False,
            settings.frozen_norm,
        )
        trained = epochs * train if epochs is not None else (steps or 0) * settings.batch_size
        predicted = (epochs or settings.validations) * val + test
        return SECONDS_PER_RUN + trained / train_speed + predicted / predict_speed

    def seconds(self, task: Task) -> float:
        """Return the seconds of a task."""
        return task.seconds(self)

    def total(self, missing: Iterable[StageSpec]) -> float:
        """Return the seconds of all trials of the plan and of the `missing` stages, in sequence."""
        stages = sum(self.stage(spec) for spec in missing)
        tuning = sum(self.trial(trial.settings, tested=False) for cell in self._plan.cells for trial in cell.tuning)
        confirmed = sum(self.trial(cell.settings, tested=True) for cell in self._plan.cells) * self._plan.study.seeds
        return stages + tuning + confirmed
