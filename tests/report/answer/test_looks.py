"""Several looks at a growing study: their levels, and how often the intervals of the last look contain the truth."""

import numpy as np
import pytest
from drawn_study import Drawn
from simulated_scores import CELLS, Chance, random, report, study, to_first

from segsweep.config.looks import looks_of
from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.contrasts import LEVEL, Contrasts
from segsweep.report.answer.looks import look_level
from segsweep.report.answer.questions import MATTERS, Verdict, verdict

STUDIES = 400


@pytest.mark.parametrize(("first", "most"), [(3, 12), (2, 30), (4, 20), (3, 3), (2, 5), (6, 30)])
def test_all_looks_together_spend_five_per_cent(first: int, most: int) -> None:
    """Looks grow from the first number of seeds to the most, and spend the 5 % in all."""
    looks = looks_of(first, most)
    assert looks[0] == first
    assert looks[-1] == most
    assert list(looks) == sorted(set(looks))
    assert sum(1 - look_level(looks, look) for look in looks) == pytest.approx(1 - LEVEL)
    assert len(looks) <= 8


def test_intervals_of_a_look_are_wider_than_those_of_a_single_one() -> None:
    """A study that may add seeds widens all its intervals; the declaration of the looks alone decides how much."""
    single = Drawn({"source": ["random", "near", "far"]}, {"source=near": 0.6}, seeds=3).records()
    several = Drawn({"source": ["random", "near", "far"]}, {"source=near": 0.6}, seeds=3, study={"looks": [3, 5, 8]}).records()
    (one,), (other,) = answer_of(single).questions, answer_of(several).questions
    for narrow, wide in zip(one.differences, other.differences, strict=True):
        assert wide.estimate == narrow.estimate
        assert wide.half_together > narrow.half_together
        assert wide.half > narrow.half
    for narrow, wide in zip(answer_of(single).cells, answer_of(several).cells, strict=True):
        assert wide.half > narrow.half


def simulated(number: np.random.Generator, cells: int, chance: Chance, gain: float, looks: tuple[int, ...]) -> list[float]:
    """Return, of one study, whether all differences of its last look are right, and its seeds; then without correction.

    The study ends at the first look after which no further seeds would decide an open difference. The last cell gains `gain`.
    """
    scores = study(number, cells, looks[-1], chance, 0.3)
    scores[-1] += gain
    weights, truth = to_first(cells), np.array([*[0.0] * (cells - 2), gain])
    found = []
    for levels in ([look_level(looks, look) for look in looks], [LEVEL] * len(looks)):
        for look, level in zip(looks, levels, strict=True):
            contrasts = Contrasts.of([scores[:, :look]], level=level)
            together = contrasts.family(weights)
            verdicts = [verdict(*pair, MATTERS) for pair in zip(together.estimate, together.half, strict=True)]
            is_open = [each is Verdict.UNDECIDED for each in verdicts]
            needed = [contrasts.units_needed(row, level ** (1 / len(weights))) for row in weights[is_open]]
            if not any(each is not None and each <= looks[-1] for each in needed):
                break
        found += [float((np.abs(together.estimate - truth) <= together.half).all()), float(look)]
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_studies_that_stop_when_decided_keep_95_per_cent() -> None:
    """With the correction, all intervals of the last look hold together in at least 94 % of the studies of every setting."""
    looks, rows = looks_of(3, 12), {}
    for name, chance in CELLS.items():
        for cells, gain in ((2, 0.0), (2, 0.03), (4, 0.0), (4, 0.03)):
            number = random("looks", name, cells, gain)
            values = np.mean([simulated(number, cells, chance, gain, looks) for _ in range(STUDIES)], axis=0)
            rows[f"{name}, {cells} cells, gain {100 * gain:g}"] = [values[0], values[2], values[1] / 100, values[3] / 100]
            assert values[0] >= 0.94, (name, cells, gain)
    report(f"Looks at {looks} seeds, {STUDIES} studies", " corrected  at 95 % each  seeds  seeds", rows)
    assert np.mean([row[0] for row in rows.values()]) >= 0.95
    assert min(row[1] for row in rows.values()) < 0.93  # otherwise the correction would be needless
