"""Adaptation of a study to the available data: substitutes for absent sources, and the class map of another target."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from segsweep.config.class_name import same_class
from segsweep.config.settings import Settings
from segsweep.config.study import Study
from segsweep.data.scenes import GENERATED
from segsweep.data.table import DataRoots, open_dataset, split_scheme
from segsweep.errors import DataNotFoundError

StandIns = Mapping[str, Sequence[str]]
FOLDER = "folder:"


def with_stand_ins(study: Study, stand_ins: StandIns, roots: DataRoots) -> tuple[Study, list[str]]:
    """Return a study in which absent sources are replaced, and a line on each replacement.

    `stand_ins` maps a source to possible substitutes; the first one is used whose data is available and is not the target. If
    there is none, the source remains, and its absence is reported like that of any dataset.
    """
    lines = []
    for wanted, others in stand_ins.items():
        wanted = _settings(wanted).source
        if wanted not in {cell.source for _, cell in study.cells()} or _has_data(wanted, roots):
            continue
        target = _location(study.target_name, roots)
        apart = [other for other in others if all(_location(name, roots) != target for name in _datasets(other))]
        possible = [other for other in apart if _has_data(other, roots)]
        if possible:
            study = _replaced(study, wanted, possible[0])
            lines.append(f"source {wanted} is not available: {possible[0]} replaces it (--set source=... chooses another)")
    return study, lines


def with_class_map_of_target(study: Study, roots: DataRoots) -> tuple[Study, list[str]]:
    """Return a study whose class map has only classes of the target, and a line on the removed entries."""
    try:
        schemes = open_dataset(study.target_name, roots).schemes
    except DataNotFoundError:  # reported later, where the data is needed
        return study, []
    classes = schemes.get(split_scheme(study.target_name)[1] or next(iter(schemes)), ())
    shown = study.target.class_map
    kept = {name: shown[name] for name in shown if any(same_class(name, known) for known in classes)}
    dropped = [name for name in shown if name not in kept]
    if not dropped:
        return study, []
    remark = f"class_map entries are ignored: {', '.join(dropped)}; {study.target_name} has no such class"
    return replace(study, target=replace(study.target, class_map=kept)), [remark]


def _settings(source: str) -> Settings:
    """Return settings with a source, to read its canonical text and its chain of stages."""
    return Settings.build(source=source)


def _replaced(study: Study, wanted: str, replacement: str) -> Study:
    def other(text: str) -> str:
        return replacement if _settings(text).source == wanted else text

    grids = [
        {axis: tuple(dict.fromkeys(map(other, values))) if axis == "source" else values for axis, values in grid.items()}
        for grid in study.grids
    ]
    fixed = {name: other(value) if name == "source" else value for name, value in study.fixed.items()}
    return replace(study, compare=grids, fixed=fixed)


def _datasets(source: str) -> list[str]:
    return [split_scheme(stage.dataset)[0] for stage in _settings(source).chain.stages if stage.dataset is not None]


def _location(name: str, roots: DataRoots) -> Path | str:
    """Return the folder of a dataset, or its name if it has none. Two names can refer to the same folder."""
    if name.startswith(FOLDER):
        return Path(name.removeprefix(FOLDER)).expanduser().resolve()
    known = split_scheme(name)[0]
    folder = roots.folder(known)
    return known if folder is None else folder.resolve()


def _has_data(source: str, roots: DataRoots) -> bool:
    """Return whether the data of all stages of a source is available."""
    return all(
        Path(name.removeprefix(FOLDER)).expanduser().is_dir()
        if name.startswith(FOLDER)
        else name in GENERATED or roots.folder(name) is not None
        for name in _datasets(source)
    )
