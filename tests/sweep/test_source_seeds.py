"""Numbers of confirmed runs that are a multiple of the number of source models."""

import re

import pytest

from segsweep.config import Study, Target
from segsweep.errors import UserError
from segsweep.sweep.study_checks import check_source_seeds

TRAINED = ["random", "supervised:coco"]


def study(seeds: int, source_seeds: int, sources: list[str]) -> Study:
    return Study("s", target=Target("pets"), compare={"source": sources}, seeds=seeds, source_seeds=source_seeds)


@pytest.mark.parametrize(
    ("seeds", "models", "remedy"), [(3, 2, "seeds=2 or 4, or source_seeds=1"), (1, 3, "seeds=3, or source_seeds=1")]
)
def test_other_numbers_are_refused(seeds: int, models: int, remedy: str) -> None:
    """Seeds that do not use every source model equally often are refused, with the nearest numbers that do."""
    with pytest.raises(UserError, match=f"^study s: seeds={seeds}: .* multiple of {models}; give {re.escape(remedy)}$"):
        check_source_seeds(study(seeds, models, TRAINED))


@pytest.mark.parametrize(("seeds", "models", "sources"), [(4, 2, TRAINED), (3, 1, TRAINED), (3, 2, ["random", "imagenet"])])
def test_multiples_and_studies_without_trained_sources_are_allowed(seeds: int, models: int, sources: list[str]) -> None:
    """Multiples are allowed; without a trained source there are no models to divide the runs by."""
    check_source_seeds(study(seeds, models, sources))
