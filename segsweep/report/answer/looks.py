"""Repeated looks at a growing study: levels of intervals that hold together over all looks.

A study that adds seeds until its questions are decided looks at its answer several times. Intervals of 95 % at each look would
miss more often than once in twenty studies, because the study ends when they look decided. So each look spends a part of the 5 %,
in proportion to the seeds that it adds (a linear spending function, Lan and DeMets 1983,
https://doi.org/10.1093/biomet/70.3.659). By Bonferroni's inequality all looks together miss at most once in twenty, whatever
the correlation between looks. `tests/report/answer/test_looks.py` measures this by simulation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from segsweep.report.answer.contrasts import LEVEL


def look_level(looks: Sequence[int], units: int) -> float:
    """Return the level of all intervals of the look at `units`, such that all looks together hold at 95 %.

    The look at n units after one at m spends (n - m) / most of the 5 %. A single look has 95 %.
    """
    before = max((look for look in looks if look < units), default=0)
    return 1 - (1 - LEVEL) * (units - before) / looks[-1]


def level_of(study: Mapping[str, Any]) -> float:
    """Return the level of the intervals of a study, from its declaration: that of its present look if it has several."""
    looks = study.get("looks")
    return look_level(looks, int(study["seeds"])) if looks else LEVEL
