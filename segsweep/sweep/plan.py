"""A plan: the cells, trials and stages of a study, independent of the work that is already done."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.space import Choice, all_listed
from segsweep.config.stage_settings import stage_settings
from segsweep.config.study import PREVENT, SOURCE_RATE, TUNING_SEED, Leakage, Study
from segsweep.config.work import Phase, StageSpec, Trial
from segsweep.models.encoder_name import encoder_name
from segsweep.sweep.points import points_of, spread_values
from segsweep.sweep.small_stem import has_small_stem

LeftOut = Callable[[Stage, Settings], tuple[int, ...]]  # -> indices of the images that a stage must not train on
DataKey = Callable[[str, str | None, int, str], str]  # dataset (or file:PATH), class scheme, image_px, fit -> its key


@dataclass(frozen=True)
class SourceRate:
    """A candidate learning rate for the supervised stages of a cell's source.

    `stage` is the last of these stages; its validation reading decides whether the rate is chosen. `cell` is the cell with this
    rate.
    """

    learning_rate: float
    stage: StageSpec
    cell: "Cell"


@dataclass(frozen=True)
class Cell:
    """One combination of the compared axes, with its tuning trials. `confirm` makes the confirmed runs of a chosen setting.

    If the source's learning rate is tuned, `source_rates` holds the candidates; until one is chosen, all other fields are those
    of the first candidate.
    """

    name: str
    settings: Settings
    tuning: tuple[Trial, ...]
    stages: tuple[StageSpec | None, ...]  # the source's last stage, one per source seed
    study: Study
    target_data: str
    target_masks: str | None = None
    source_rates: tuple[SourceRate, ...] = ()

    @property
    def key(self) -> str:
        """The unique key of the cell in the plan: its name, plus its fold if the name does not contain it."""
        fold = f"fold={self.settings.fold}"
        return self.name if self.settings.fold is None or fold in self.name.split() else f"{self.name} {fold}"

    def trial(self, phase: Phase, settings: Settings, seed: int, point: int | None = None) -> Trial:
        """Return a trial of this cell. Confirmed runs use the source models in turn, by seed."""
        stage = self.stages[(seed - 1) % len(self.stages) if phase == "confirm" else 0]
        study, data = self.study, self.target_data
        return Trial(
            study.name, self.name, phase, settings, seed, study.target, data, stage, point, self.target_masks, study.fingerprints
        )

    def confirm(self, settings: Settings) -> tuple[Trial, ...]:
        """Return the confirmed runs of a setting, on seeds other than the tuning seed."""
        return tuple(self.trial("confirm", settings, TUNING_SEED + number) for number in range(1, self.study.seeds + 1))


@dataclass(frozen=True)
class Plan:
    """All cells of a study. Under a protocol with folds, each combination of the compared axes has one cell per fold."""

    study: Study
    cells: tuple[Cell, ...]
    twins: Mapping[str, str] = field(default_factory=dict)  # name of an omitted cell -> name of the identical cell that is run

    @property
    def names(self) -> list[str]:
        """The names of the combinations of the compared axes."""
        return list(dict.fromkeys(cell.name for cell in self.cells))

    @property
    def counted_cells(self) -> str:
        """The number of cells, and of folds per cell, in words."""
        folds = len(self.cells) // len(self.names) if self.cells else 1
        return f"{len(self.names)} cells" + (f" on {folds} folds each" if folds > 1 else "")

    @property
    def verb(self) -> str:
        """What the trials before the confirmed runs are for: `tune` or `search`."""
        return "tune" if self.study.search is None else "search"

    @property
    def tuning_trials(self) -> int:
        """The number of tuning trials, or of trials of a search: at most all combinations, if these are finitely many."""
        tune = self.study.tune
        if self.study.search is not None and all_listed(tune):
            combinations = len(self.cells) * prod(len(tuned.values) for tuned in tune.values() if isinstance(tuned, Choice))
            return min(self.study.search.trials, combinations)
        if self.study.search is not None:
            return self.study.search.trials
        return sum(len(cell.tuning) for cell in self.cells)

    @property
    def confirmation_trials(self) -> int:
        """The number of confirmed runs."""
        confirmed = len(self.cells) if self.study.search is None else min(self.study.search.confirm, len(self.cells))
        return confirmed * self.study.seeds

    @property
    def trials(self) -> int:
        """The number of trials, without early stopping."""
        return self.tuning_trials + self.confirmation_trials

    def stages(self) -> list[StageSpec]:
        """Return the distinct stages, each after the stages that it needs, in the order in which cells need them."""
        found: dict[str, StageSpec] = {}
        for cell in self.cells:
            for last in (*(rate.stage for rate in cell.source_rates), *cell.stages):
                for stage in chain(last):
                    found.setdefault(stage.spec_id, stage)
        return list(found.values())

    @property
    def stage_ids(self) -> list[str]:
        """The ids of the distinct stages."""
        return [stage.spec_id for stage in self.stages()]


def with_trial(plan: Plan, trial: Trial) -> Plan:
    """Return a plan with a further trial of one of its cells, which a search has suggested."""
    cells = (replace(cell, tuning=(*cell.tuning, trial)) if cell.name == trial.cell else cell for cell in plan.cells)
    return replace(plan, cells=tuple(cells))


def chain(last: StageSpec | None) -> Iterator[StageSpec]:
    """Yield the stages of a chain, from its first to `last`."""
    if last is not None:
        yield from chain(last.parent)
        yield last


def make_plan(
    study: Study,
    data_key: DataKey,
    precision: Callable[[str], str] = lambda precision: precision,
    left_out: LeftOut = lambda stage, settings: (),  # noqa: ARG005
    masks_key: Callable[[Study], str | None] = lambda study: None,  # noqa: ARG005
) -> Plan:
    """Return the plan of a study.

    `data_key` returns the key of a prepared dataset. `precision` resolves `auto` for the available devices. `left_out` returns
    the images of a source that the target uses for validation or test. `masks_key` returns the key of the target's masks at
    their original sizes. Cells that are identical work, as with two names of one dataset, become one cell.
    """
    points = points_of(study)

    def cell_of(name: str, settings: Settings) -> Cell:
        leakage = study.target.leakage
        stages = tuple(
            _stages(settings, seed, data_key, left_out, leakage, study.fingerprints) for seed in range(study.source_seeds)
        )
        target_data = data_key(study.target_name, study.target.classes, settings.image_px, settings.fit)
        target_masks = masks_key(study) if settings.test_size == "original" else None
        cell = Cell(name, settings, (), stages, study, target_data, target_masks)
        tuning = [cell.trial("tune", with_values(settings, **values), TUNING_SEED, point) for point, values in enumerate(points)]
        return replace(cell, tuning=tuple(tuning))

    cells: dict[str, Cell] = {}
    twins = {}
    for name, settings in ((name, _set(cell, fold=fold)) for name, cell in study.cells() for fold in study.folds(cell)):
        settings = _set(settings, precision=precision(settings.precision))
        cell = _with_source_rates(study, name, settings, cell_of)
        identity = cell.trial("confirm", cell.settings, TUNING_SEED + 1).trial_id
        if identity in cells:
            twins[name] = cells[identity].name
        else:
            cells[identity] = cell
    return Plan(study, tuple(cells.values()), twins)


def _with_source_rates(study: Study, name: str, settings: Settings, cell_of: Callable[[str, Settings], Cell]) -> Cell:
    """Return a cell; if the learning rate of its source is tuned, with the candidate rates."""
    tried = study.range_of_source_rates
    if tried is None or not any(stage.supervised for stage in settings.chain.stages):
        return cell_of(name, settings)
    rates = []
    for value in spread_values(tried, study.source_trials):
        cell = cell_of(name, _set(settings, **{SOURCE_RATE: value}))
        *_, last = (stage for stage in chain(cell.stages[0]) if stage.stage.supervised)
        rates.append(SourceRate(value, last, cell))
    return replace(rates[0].cell, source_rates=tuple(rates))


def _set(settings: Settings, **values: Any) -> Settings:
    """Return a cell's settings with some values replaced by valid ones.

    Unlike `with_values`, it keeps settings that have an effect only for some values of a tuned one (see `Study.cells`).
    """
    return settings.model_copy(update=values)


def with_values(settings: Settings, **values: Any) -> Settings:
    """Return a cell's settings with the values of a tuning point; settings without effect get their defaults."""
    return Settings.build(**{**settings.model_dump(), **values})


def _stages(
    settings: Settings, seed: int, data_key: DataKey, left_out: LeftOut, leakage: Leakage, fingerprints: Mapping[str, str]
) -> StageSpec | None:
    """Return the last stage of a source for one source seed; its `parent` links to the stages before it."""
    last: StageSpec | None = None
    encoder = encoder_name(settings.architecture)
    for stage in settings.chain.stages:
        if stage.path is not None:  # absolute, because workers have other working directories than the driver
            stage = replace(stage, name=str(Path(stage.path).expanduser().absolute()))
        small_stem = {"stem": "small"} if has_small_stem(settings, stage, first=last is None) else {}
        data = None
        if stage.path is not None:
            data = data_key(f"file:{stage.path}", None, settings.image_px, settings.source_fit)
        elif stage.dataset is not None:
            data = data_key(stage.dataset, None, settings.source_px, settings.source_fit)
        last = StageSpec(
            stage=stage,
            model=encoder if stage.encoder_only else settings.architecture,
            seed=seed if stage.trains else 0,
            data=data,
            settings=stage_settings(settings, stage) | small_stem,
            parent=last,
            without=left_out(stage, settings) if stage.trains else (),
            leakage=leakage if stage.trains else PREVENT,
            fingerprints=fingerprints,
        )
    return last
