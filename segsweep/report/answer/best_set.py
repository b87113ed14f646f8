"""The cells that may be the best: Gupta's subset (Gupta 1965, https://doi.org/10.1080/00401706.1965.10490251)."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from segsweep.report.answer.scores import Engine, StudyScores


def beaten_by(scores: StudyScores, level: float | None = None) -> dict[str, str] | None:
    """Return, for each cell that is not among the best, the cell that beats it by most; None if the seeds do not decide it.

    The truly best cell is among the others with a probability of at least `level`, by default that of the scores. A pair is
    compared over the units that both cells have. Cells without scores are not compared.
    """
    cells = scores.cells
    if len(cells) < 2:
        return {}
    share = (level or scores.level) ** (1 / (len(cells) - 1))
    worst: dict[str, tuple[float, str]] = {}
    decided = False
    for engine, wanted in _engines(scores):
        if not engine.contrasts.decides:
            continue
        decided = True
        pairs = engine.contrasts.pairs(share, one_sided=True)
        lead = np.where(pairs.half > 0, pairs.estimate - pairs.half, -np.inf)
        for one, two in wanted:
            better, worse = (one, two) if lead[one, two] > lead[two, one] else (two, one)
            if lead[better, worse] > 0:
                found = (float(pairs.estimate[better, worse]), engine.cells[better])
                worst[engine.cells[worse]] = max(worst.get(engine.cells[worse], found), found)
    return {cell: worst[cell][1] for cell in cells if cell in worst} if decided else None


def _engines(scores: StudyScores) -> Iterator[tuple[Engine, list[tuple[int, int]]]]:
    """Yield each engine with the pairs of its cells, as positions, that have exactly its units in common."""
    by_units: dict[frozenset[int], list[tuple[str, str]]] = {}
    for pair in combinations(scores.cells, 2):
        by_units.setdefault(scores.common(pair), []).append(pair)
    for units, pairs in by_units.items():
        if units:
            engine = scores.engine(pairs[0])
            assert engine is not None
            position = {cell: number for number, cell in enumerate(engine.cells)}
            yield engine, [(position[one], position[two]) for one, two in pairs]
