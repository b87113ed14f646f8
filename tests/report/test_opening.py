"""A notebook opens its study, or the demo if only that has run."""

from pathlib import Path

import pytest

from segsweep.errors import UserError
from segsweep.report.opening import study_or_demo


@pytest.mark.parametrize("here", [".", "analysis"])
def test_the_study_comes_before_its_demo(here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the project's folder and from the notebooks' folder; a folder without a declaration is no study."""
    place = tmp_path / here
    place.mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    (tmp_path / "runs" / "grid").mkdir(parents=True)
    (tmp_path / "runs" / "grid_demo").mkdir()
    with pytest.raises(UserError, match=r"neither grid nor grid_demo; .* python sweeps/grid.py --demo"):
        study_or_demo("grid")
    for name in ("grid_demo", "grid"):
        (tmp_path / "runs" / name / "study.json").write_text("{}")
        found = study_or_demo("grid")
        assert found.resolve() == tmp_path / "runs" / name
        assert not found.is_absolute()
