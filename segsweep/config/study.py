"""A study: one research question, as its author declares it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType
from typing import Any, Literal, get_args

from segsweep.config.early_stopping import RULES, EarlyStopping
from segsweep.config.folds import folds_of
from segsweep.config.looks import FIRST, LARGEST, UNTIL_DECIDED, looks_of, parse_until_decided
from segsweep.config.plain import listed, plain
from segsweep.config.published_results import Published
from segsweep.config.search import Search, check_search
from segsweep.config.setting_rules import DECIDED_BY
from segsweep.config.settings import LISTED, Settings
from segsweep.config.space import Choice, LogUniform, Range, Uniform
from segsweep.config.user_objects import DatasetObject, Naming, UserObject, folder_name, is_dataset, register, with_fingerprints
from segsweep.errors import UserError, unknown

Grid = Mapping[str, tuple[Any, ...]]
TUNING_SEED = 0
# the tuning trials of one cell share these: one source, one model, one measure and one set of prepared images
NOT_TUNED = ("source", "architecture", "keep", "fold", "image_px", "fit", "test_size")
SOURCE_RATE = "source_learning_rate"  # the only setting of sources that a study can tune, by training the source several times
Leakage = Literal["prevent", "report"]  # rule for images of the target's validation or test split that would reach training
PREVENT: Leakage = "prevent"


@dataclass(frozen=True)
class Target:
    """The dataset to fine-tune and test on, with its protocol.

    Attributes:
        name: Name of a dataset, `folder:PATH`, a path object of a folder, or a user's dataset object.
        classes: One of the dataset's class schemes; None for its first.
        protocol: The split. `60-20-20` gives per cents of images for training, validation and test; `official` uses the dataset's
            three splits; `5-fold` is cross-validation in which each fold is the test split once, `5x2-fold` repeats two folds
            five times; `holdout-H` tests on H per cent of all images, validates on a tenth of the others, and trains on nine
            tenths of the share of all images that the setting `dev_share` names (`holdout-H-own-val`: a tenth of each share
            validates).
        class_map: For the transfer `all`: further source classes that initialise a class of the target, beside the class with the
            same name: `{"pet": ["cat", "dog"]}`.
        foreground: With two classes: the class that the headline metrics measure. None: the class that is not called background;
            class 1 if neither or both are.
        groups: Regular expression with one group in parentheses, `"^(video[0-9]+)_"`. Images whose names share the matched text
            stay on one side of every split. None: the dataset's groups.
        leakage: Treatment of groups and identical images, in the target's splits and in sources: `prevent` keeps them out of the
            other splits; `report` splits as if there were none and reports them, as a study that repeats a published run does.

    Raises:
        UserError: a value has the wrong type or is not allowed.
    """

    name: str | DatasetObject
    classes: str | None = None
    protocol: str = "60-20-20"
    class_map: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    foreground: str | None = None
    groups: str | None = None
    leakage: Leakage = PREVENT

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", folder_name(self.name))
        for key in ("name", "classes", "protocol", "foreground"):
            value = getattr(self, key)
            allowed = (key in ("classes", "foreground") and value is None) or (key == "name" and is_dataset(value))
            if not (isinstance(value, str) and value) and not allowed:
                raise UserError(f"Target {key}={value!r}: must be a text" + (" or a dataset" if key == "name" else ""))
        if not isinstance(self.class_map, Mapping):
            raise UserError(f"Target class_map={self.class_map!r}: must map classes of the target to lists of classes")
        for name, synonyms in self.class_map.items():
            if isinstance(synonyms, str) or not isinstance(synonyms, Sequence) or not all(isinstance(s, str) for s in synonyms):
                raise UserError(f"Target class_map {name}={synonyms!r}: must be a list of class names")
        if self.groups is not None:
            _check_groups(self.groups)
        if self.leakage not in get_args(Leakage):
            raise UserError(f"Target leakage={self.leakage!r}: allowed are {', '.join(map(repr, get_args(Leakage)))}")


def _check_groups(pattern: object) -> None:
    """Raise `UserError` unless the pattern is a regular expression with exactly one group."""
    example = "give a regular expression with one group in parentheses, such as '^(video[0-9]+)_'"
    try:
        count = re.compile(pattern).groups if isinstance(pattern, str) else 0
    except re.error as error:
        raise UserError(f"Target groups={pattern!r}: is not a regular expression: {error}; {example}") from None
    if count != 1:
        raise UserError(f"Target groups={pattern!r}: has {count} groups in parentheses; {example}")


def _canonical(axis: str, tuned: Range) -> Range:
    """Return listed values as the type of their setting, so that "1e-3" becomes 1e-3; return a range unchanged."""
    return Choice([Settings.parse_value(axis, value) for value in tuned.values]) if isinstance(tuned, Choice) else tuned


@dataclass(frozen=True)
class Study:
    """One research question: a target, axes to compare, axes to tune, fixed settings, and numbers of trials and seeds.

    Every combination of compared values is a cell. In each cell, tuning trials choose the values of the tuned axes, and confirmed
    runs with other seeds measure that choice on the test split. Wherever a value names something, the object itself is allowed
    too: a dataset (`Target(mine)`, `Supervised(mine)` as a source), a `File` as a source, an `Architecture`, a `Loss`.

    Attributes:
        name: Name of the study and of its folder: letters, digits, `_`, `.` and `-`.
        target: Dataset to fine-tune and test on.
        compare: Values to compare, by name of the setting; or a list of such grids, whose union is compared.
        tune: Range (`LogUniform`, `Uniform`) or listed values (`Choice`) of each tuned axis, by name of the setting.
        fixed: Values by name of the setting; settings that are not mentioned have their defaults.
        trials_per_cell: Number of tuning trials per cell, at least 1. None: every combination if all tuned axes list their
            values, otherwise 8.
        seeds: Number of confirmed runs per cell, at least 1. Or "until decided", with the most seeds as in "until decided: 20"
            (default: 12): the study starts with 3 and adds seeds to all cells while more would decide an open question.
        looks: Numbers of seeds at which such a study looks at its answer; `seeds` is the present one. Empty for other studies.
        source_seeds: Number of models per source, each trained with another seed; at least 1. Confirmed runs use them in turn, so
            `seeds` must be a multiple of it if the study trains sources.
        source_trials: Number of learning rates at which the supervised stages of each source are trained; the source's validation
            split chooses one. With 1, stages use the setting `source_learning_rate`. The rates come from the range of
            `source_learning_rate` in `tune`, otherwise from that of `learning_rate`.
        source_range: Range of `source_learning_rate`, moved here from `tune`.
        early_stopping: Rule that compares tuning trials within a cell; None for no early stopping.
        search: Search for the best model over all axes, instead of tuning every cell; None for the grid of all cells. Then
            `trials_per_cell` has no effect, and the rule of early stopping compares the trials of all cells.
        published: Published numbers that a report shows beside the results.
        own: User objects by the texts `own:NAME` that replace them in settings and records.
        user_objects: The objects in `own` with their fingerprints.

    Raises:
        UserError: a name, role, value or combination is not allowed. It is raised when the study is built, and names the setting.
    """

    name: str
    target: Target
    compare: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]]
    tune: Mapping[str, Range] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    trials_per_cell: int | None = None
    seeds: int = 3
    source_seeds: int = 1
    source_trials: int = 1
    source_range: Range | None = None
    early_stopping: EarlyStopping | None = None
    search: Search | None = None
    published: Published | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    looks: tuple[int, ...] = ()
    user_objects: Mapping[str, UserObject] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise UserError(f"study name={self.name!r}: must be letters, digits, '_', '.' and '-', since it names a folder")
        if not isinstance(self.target, Target):
            raise UserError(f"study {self.name}: target={self.target!r}: must be a Target")
        if (most := parse_until_decided(self.seeds)) is not None:
            object.__setattr__(self, "looks", looks_of(FIRST, most) if most > FIRST else (FIRST, most))
            object.__setattr__(self, "seeds", FIRST)
        for count in ("trials_per_cell", "seeds", "source_seeds", "source_trials"):
            value = plain(getattr(self, count))
            object.__setattr__(self, count, value)
            if count == "trials_per_cell" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"study {self.name}: {count}={value!r}: must be a whole number >= 1")
        if not isinstance(self.early_stopping, EarlyStopping | None):
            rules = ", ".join(rule.__name__ for rule in RULES.values())
            raise UserError(f"study {self.name}: early_stopping={self.early_stopping!r}: must be one of {rules}, or None")
        grids = self.compare if isinstance(self.compare, Sequence) else [self.compare]
        naming = Naming(dict(self.own))
        object.__setattr__(self, "target", replace(self.target, name=naming.text(self.target.name)))
        object.__setattr__(self, "compare", tuple(self._grid(grid, naming) for grid in grids))
        tune = {name: Choice(naming.texts(t.values)) if isinstance(t, Choice) else t for name, t in self.tune.items()}
        object.__setattr__(self, "source_range", tune.pop(SOURCE_RATE, self.source_range))
        object.__setattr__(self, "tune", MappingProxyType(tune))
        fixed = {name: naming.text(value) for name, value in self.fixed.items()}
        object.__setattr__(self, "fixed", MappingProxyType(fixed))
        if self.published is not None:
            object.__setattr__(self, "published", self.published.named(naming.text))
        object.__setattr__(self, "own", MappingProxyType(naming.found))
        object.__setattr__(self, "user_objects", MappingProxyType(with_fingerprints(self.own)))
        register(self.user_objects)
        self._check_roles()
        object.__setattr__(self, "tune", MappingProxyType({axis: _canonical(axis, t) for axis, t in self.tune.items()}))
        self._check_source_trials()
        self._check_folds()
        self._check_looks()
        if self.search is not None:
            check_search(self)
        if not list(self.cells()):
            raise UserError(f"study {self.name}: compare={self.compare!r}: contains no cell; compare at least one value")

    def _grid(self, grid: Mapping[str, Sequence[Any]], naming: Naming) -> Grid:
        if not isinstance(grid, Mapping):
            raise UserError(f"study {self.name}: compare={grid!r}: must map setting names to lists of values")
        for axis, values in grid.items():
            if not listed(values):
                raise UserError(f"study {self.name}: compare {axis}={values!r}: must be a list of at least one value")
        return MappingProxyType({axis: naming.texts(listed(values) or ()) for axis, values in grid.items()})

    def _check_roles(self) -> None:
        """Raise `UserError` unless every key is a setting with one role and every tuned range holds allowed values."""
        compared = {axis for grid in self.grids for axis in grid}
        for role, names in (("compare", compared), ("tune", self.tune), ("fixed", self.fixed)):
            for axis in names:
                if axis not in Settings.model_fields:
                    raise unknown(f"study {self.name}: {role}", axis, list(Settings.model_fields), LISTED)
        for run in self.published.runs if self.published else ():
            for axis in run.cell:
                if axis not in Settings.model_fields:
                    raise unknown(f"study {self.name}: published run {run.name!r}", axis, list(Settings.model_fields), LISTED)
        for axis in compared & set(self.tune) | compared & set(self.fixed) | set(self.tune) & set(self.fixed):
            raise UserError(f"study {self.name}: {axis} has two roles; an axis is compared, tuned or fixed")
        for axis in self.tune:
            if axis in NOT_TUNED:
                raise UserError(f"study {self.name}: {axis} cannot be tuned, only compared or fixed")
        for axis in self.tune:
            if axis.startswith(("source_", "ssl_")):
                raise UserError(
                    f"study {self.name}: tune {axis}: a source is trained once for all trials of a cell, only its learning rate "
                    f"is tuned ({SOURCE_RATE}); compare or fix it"
                )
        keeps = {self.fixed.get("keep"), *(keep for grid in self.grids for keep in grid.get("keep", ()))}
        if "loss" in self.tune and "val_loss" in keeps:
            raise UserError(
                f"study {self.name}: keep='val_loss' with loss tuned: values of different losses are not comparable; "
                "compare or fix loss, or use keep='val_iou'"
            )
        source_range = {SOURCE_RATE: self.source_range} if self.source_range is not None else {}
        for axis, tuned in {**self.tune, **source_range}.items():
            if not isinstance(tuned, LogUniform | Uniform | Choice):
                raise UserError(f"study {self.name}: tune {axis}={tuned!r}: must be LogUniform, Uniform or Choice")
            for value in tuned.samples():
                self._settings({axis: value})

    def _check_folds(self) -> None:
        """Raise `UserError` for a fold that the protocol does not have."""
        folds, protocol = folds_of(self.target.protocol), self.target.protocol
        for fold in (self.fixed.get("fold"), *(fold for grid in self.grids for fold in grid.get("fold", ()))):
            if fold is not None and (folds is None or not isinstance(fold, int) or fold not in folds.numbers):
                has = f"has the folds 1 to {folds.numbers[-1]}, whole numbers" if folds else "has no folds; '5-fold' has"
                raise UserError(f"study {self.name}: fold={fold!r}: protocol {protocol!r} {has}")
        if folds is not None and any(settings.dev_share is not None for _, settings in self.cells()):
            raise UserError(f"study {self.name}: protocol {protocol!r} has no dev_share; only 'holdout-H' has one")

    def until_decided(self, most: int) -> "Study":
        """Return the study that starts with these seeds and adds seeds, up to `most`, until its questions are decided."""
        return replace(self, looks=looks_of(self.seeds, most) if most > self.seeds else (self.seeds, most))

    def _check_looks(self) -> None:
        """Raise `UserError` if the study cannot add seeds until its questions are decided."""
        if not self.looks:
            return
        what = f"study {self.name}: seeds {UNTIL_DECIDED!r}"
        if not 2 <= self.looks[0] < self.looks[-1] <= LARGEST:
            given = f"starts with {self.looks[0]} seeds and allows {self.looks[-1]}"
            raise UserError(f"{what}: {given}; start with at least 2, and allow more, at most {LARGEST}")
        if self.search is not None:
            raise UserError(f"{what}: a search asks no question that seeds decide; give a number of seeds")
        if self.source_seeds > 1:
            raise UserError(f"{what}: with source_seeds={self.source_seeds} only more models decide; use source_seeds=1")
        if folds_of(self.target.protocol) is not None:
            raise UserError(f"{what}: protocol {self.target.protocol!r} compares over folds, not seeds; give a number of seeds")

    def folds(self, settings: Settings) -> tuple[int | None, ...]:
        """Return the folds on which a cell runs: the fold of its settings, or all of the protocol; `(None,)` without folds."""
        folds = folds_of(self.target.protocol)
        return (settings.fold,) if folds is None or settings.fold is not None else tuple(folds.numbers)

    def _check_source_trials(self) -> None:
        """Raise `UserError` if `source_trials` contradicts the declaration of the source's learning rate."""
        stated = [
            role
            for role, names in (("compare", {a for g in self.grids for a in g}), ("fixed", self.fixed))
            if SOURCE_RATE in names
        ]
        several = f"study {self.name}: source_trials={self.source_trials}"
        if stated and self.source_range is not None:
            raise UserError(f"study {self.name}: {SOURCE_RATE} has two roles; an axis is compared, tuned or fixed")
        if self.source_range is not None and self.source_trials == 1:
            raise UserError(f"{several}: would try one {SOURCE_RATE} of the range in tune; give at least 2, or fix {SOURCE_RATE}")
        if self.source_trials > 1 and stated:
            raise UserError(
                f"{several}: {SOURCE_RATE} is in {stated[0]}, so no rate is left to choose; remove it there, or give 1"
            )
        if self.source_trials > 1 and self.range_of_source_rates is None:
            raise UserError(
                f"{several}: neither {SOURCE_RATE} nor learning_rate has a range; "
                f"give tune={{'{SOURCE_RATE}': LogUniform(1e-4, 1e-2)}}, or source_trials=1"
            )

    @property
    def range_of_source_rates(self) -> Range | None:
        """The range of the learning rates at which sources are trained; None if all use the setting `source_learning_rate`."""
        return None if self.source_trials == 1 else self.source_range or self.tune.get("learning_rate")

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The compare axes as a tuple of grids."""
        return self.compare  # type: ignore[return-value]  # __post_init__ made it one

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of the study's user objects, by their texts, computed from their code when the study was declared."""
        return {text: each.fingerprint for text, each in self.user_objects.items()}

    @property
    def target_name(self) -> str:
        """The name of the target's dataset; `own:NAME` for a user's dataset object."""
        assert isinstance(self.target.name, str)  # __post_init__ replaced an object by its text
        return self.target.name

    def _repr_html_(self) -> str:
        from segsweep.config.study_html import study_html

        return study_html(self)

    def _settings(self, values: Mapping[str, Any]) -> Settings:
        try:
            return Settings.build(**{**self.fixed, **values})
        except UserError as error:
            raise UserError(f"study {self.name}: {error}") from None

    def _undecided(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those settings of a cell whose effect depends on a tuned setting."""
        given = {**self.fixed, **values}
        open_ones = [name for name, others in DECIDED_BY.items() if name in given and any(axis in self.tune for axis in others)]
        return {name: Settings.parse_value(name, given[name]) for name in open_ones}

    def cells(self) -> Iterator[tuple[str, Settings]]:
        """Yield each cell once, as its name and its settings, in which tuned settings have their defaults.

        Equivalent combinations, such as `random` with either transfer, are one cell.
        """
        seen = set()
        grids = self.grids if self.search is None else tuple(self.search.searched(grid) for grid in self.grids)
        axes = list(dict.fromkeys(axis for grid in grids for axis in grid))
        for grid in grids:
            for values in product(*grid.values()):
                axis_values = dict(zip(grid, values, strict=True))
                settings = self._settings(axis_values).model_copy(update=self._undecided(axis_values))
                name = " ".join(f"{axis}={getattr(settings, axis)}" for axis in axes)
                if name not in seen:
                    seen.add(name)
                    yield name, settings
