"""The scores that a study plans: of every source model, if the study compares at least two."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

from segsweep.config.settings import Settings
from segsweep.config.source_score import FixedWeights, ScoreSpec, Subset
from segsweep.sweep.plan import Cell, Plan
from segsweep.tasks.score_task import ScoreTask

ScoreTasks = Callable[[Plan, Collection[str]], list[ScoreTask]]  # plan, keys of cells whose source is undecided -> its scores


def no_scores(plan: Plan, undecided: Collection[str]) -> list[ScoreTask]:  # noqa: ARG001
    """Plan no scores."""
    return []


def score_tasks(plan: Plan, undecided: Collection[str], fixed_weights: FixedWeights) -> list[ScoreTask]:
    """Return the tasks that score the source models of a plan, each once.

    Sources are compared for one architecture and one size of images; where there is only one, nothing is scored. Each source
    model is scored on the largest and on the smallest subset of the training images on which the study trains. Under a protocol
    with folds these are images of the first fold. Cells in `undecided`, whose source is not chosen yet, are left out.
    """
    groups: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    first_fold = plan.cells[0].settings.fold if plan.cells else None
    for cell in plan.cells:
        if cell.settings.fold == first_fold:
            groups[cell.settings.architecture, cell.target_data].append(cell)
    tasks: dict[str, ScoreTask] = {}
    for cells in groups.values():
        if len({(cell.settings.source, _first_stage(cell)) for cell in cells}) > 1:
            decided = [cell for cell in cells if cell.key not in undecided]
            for spec in _specs(decided, _subsets(cells), fixed_weights):
                tasks.setdefault(spec.score_id, ScoreTask(spec))
    return list(tasks.values())


def _first_stage(cell: Cell) -> str | None:
    """Return the id of a cell's first source model; None for random weights."""
    return cell.stages[0].spec_id if cell.stages[0] is not None else None


def _subsets(cells: list[Cell]) -> dict[Subset, Settings]:
    """Return the settings that choose each subset: only `largest` if all subsets are equal."""
    settings = [cell.settings for cell in cells]
    smallest, largest = min(settings, key=_share), max(settings, key=_share)
    return {"largest": largest} if _share(smallest) == _share(largest) else {"smallest": smallest, "largest": largest}


def _share(settings: Settings) -> float:
    """Return the share of the possible training images on which a cell trains."""
    return settings.fraction * (1.0 if settings.dev_share is None else settings.dev_share)


def _specs(cells: list[Cell], subsets: dict[Subset, Settings], fixed_weights: FixedWeights) -> Iterator[ScoreSpec]:
    """Yield the scores of every source model of the cells, on each subset."""
    for cell in cells:
        for subset, chosen in subsets.items():
            settings = cell.settings.model_copy(update={"dev_share": chosen.dev_share, "fraction": chosen.fraction})
            for stage in cell.stages[:1] if cell.stages[0] is None else cell.stages:
                yield ScoreSpec(
                    cell.study.name,
                    stage,
                    settings,
                    cell.study.target,
                    cell.target_data,
                    subset,
                    fixed_weights,
                    cell.study.fingerprints,
                )
