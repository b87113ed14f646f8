"""Change a study from the command line: `--set fraction=0.5,1.0 --set epochs=2 --set seeds=1`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from segsweep.config.early_stopping import parse_early_stopping
from segsweep.config.looks import parse_until_decided
from segsweep.config.settings import LISTED, Settings
from segsweep.config.space import Choice, LogUniform, Uniform, all_listed
from segsweep.config.study import SOURCE_RATE, Study
from segsweep.errors import UserError, unknown

COUNTS = ("trials_per_cell", "seeds", "source_seeds", "source_trials")
TARGET, PROTOCOL = "target", "protocol"
EARLY_STOPPING = "early_stopping"
OTHER_NAMES = (*COUNTS, EARLY_STOPPING, TARGET, PROTOCOL)  # names that `--set` accepts beside the settings
PATHS = ("source",)  # settings whose values may contain a path, in which ".." does not mean a range
INSTEAD_OF = {
    f"{stage}{a}": f"{stage}{b}" for stage in ("", "source_", "ssl_") for a, b in (("epochs", "steps"), ("steps", "epochs"))
}


def narrow(study: Study, assignments: list[str]) -> Study:
    """Return a study with settings replaced.

    - `NAME=VALUE` fixes a setting; of a compared axis it leaves this one value.
    - `NAME=VALUE,VALUE` gives a compared axis these values, and makes a fixed setting a compared axis. For a tuned axis it lists
      the values to try; if all tuned axes then list their values, every combination is tried and the study's `trials_per_cell` no
      longer applies, unless another assignment sets `trials_per_cell`.
    - `NAME=LOW..HIGH` gives a tuned axis another range.
    - `seeds` also takes `until decided` or `until decided: MOST`.
    - `seeds`, `source_seeds`, `trials_per_cell` and `source_trials` take a whole number.
    - `target` names another dataset, `protocol` its split.
    - `early_stopping` takes a rule such as `racing(margin=0.01)`, or `none`.
    - One value of `source_learning_rate` ends the tuning of source rates; several values replace its range where it is tuned.

    Raises:
        UserError: a name or a value is unknown.
    """
    pairs = [_pair(text) for text in assignments]
    counts = {name: value for name, value in pairs if name in COUNTS}  # first: they decide what listed values mean
    study = _assign_all(study, [*counts.items(), *(pair for pair in pairs if pair[0] not in COUNTS)])
    named = {name for name, _ in pairs}
    if "trials_per_cell" not in named and named & set(study.tune) and all_listed(study.tune):
        return replace(study, trials_per_cell=None)
    return study


def _assign_all(study: Study, pairs: Sequence[tuple[str, str]]) -> Study:
    """Return the study after all assignments. Those that only a later one makes valid wait for it, so their order is free."""
    waiting: list[tuple[str, str]] = []
    first_error: UserError | None = None
    for name, value in pairs:
        try:
            study = _assign(study, name, value)
        except UserError as error:
            waiting.append((name, value))
            first_error = first_error or error
    if first_error is not None and len(waiting) == len(pairs):
        raise first_error
    return _assign_all(study, waiting) if waiting else study


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise UserError(f"--set {text}: must have the form NAME=VALUE or NAME=VALUE,VALUE")
    return name, value


def _assign(study: Study, name: str, text: str) -> Study:
    if name in COUNTS:
        if name == "seeds" and parse_until_decided(text) is not None:
            return replace(study, seeds=text)  # type: ignore[arg-type]  # the study reads it
        if not text.isdecimal():
            raise UserError(f"--set {name}={text}: must be a whole number >= 1")
        counts: dict[str, Any] = {name: int(text), **({"looks": ()} if name == "seeds" else {})}
        if counts.get("source_trials") == 1:
            counts["source_range"] = None
        return replace(study, **counts)
    if name == TARGET:
        if text == study.target_name:
            return study
        return replace(study, target=replace(study.target, name=text, classes=None))  # class schemes differ between datasets
    if name == PROTOCOL:
        return replace(study, target=replace(study.target, protocol=text))
    if name == EARLY_STOPPING:
        return replace(study, early_stopping=_parse(name, text))
    if name not in Settings.model_fields:
        raise unknown("--set", name, [*OTHER_NAMES, *Settings.model_fields], LISTED)
    if ".." in text and name not in PATHS:
        return _range(study, name, text)
    values = tuple(_parse(name, part) for part in text.split(","))
    if name == SOURCE_RATE and study.source_trials > 1 and len(values) > 1:
        return replace(study, source_range=Choice(values), source_trials=len(values))
    if name == SOURCE_RATE:
        study = replace(study, source_range=None, source_trials=1)
    fixed = {key: value for key, value in study.fixed.items() if key not in (name, INSTEAD_OF.get(name))}
    tune = {key: value for key, value in study.tune.items() if key != name}
    compared = any(name in grid for grid in study.grids)
    if name in study.tune and len(values) > 1:
        return replace(study, tune={**study.tune, name: Choice(values)})
    if compared or len(values) > 1:
        grids = [{**grid, name: values} for grid in study.grids]
        return replace(study, compare=grids, tune=tune, fixed=fixed)
    return replace(study, tune=tune, fixed={**fixed, name: values[0]})


def _range(study: Study, name: str, text: str) -> Study:
    low, high = (_parse(name, part) for part in text.split("..", 1))
    tuned = study.range_of_source_rates if name == SOURCE_RATE else study.tune.get(name)
    if not isinstance(tuned, LogUniform | Uniform):
        raise UserError(f"--set {name}={text}: this study does not tune {name} over a range; give a value, or values with commas")
    if name == SOURCE_RATE:
        return replace(study, source_range=tuned.with_range(low, high))
    return replace(study, tune={**study.tune, name: tuned.with_range(low, high)})


def _parse(name: str, text: str) -> Any:
    """Return the value of a setting, or the early-stopping rule, that a text names."""
    try:
        return parse_early_stopping(text) if name == EARLY_STOPPING else Settings.parse_value(name, text.strip())
    except UserError as error:
        raise UserError(f"--set {error}") from None
