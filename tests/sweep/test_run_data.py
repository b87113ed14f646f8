"""The argument `data` of `segsweep.run`."""

from pathlib import Path

import pytest

import segsweep
from segsweep.config import Study, Target
from segsweep.errors import UserError
from segsweep.sweep.folders import Folders

STUDY = Study("s", target=Target("pets"), compare={"source": ["random"]})


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_data_is_a_text_a_path_or_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, several: bool) -> None:
    """A single folder and a list of folders, as texts or paths, reach the same place as `--data`."""

    class ReachedError(Exception):
        pass

    def make(out: object, store: object, data: list[str]) -> Folders:  # noqa: ARG001
        assert data == [str(tmp_path)]
        raise ReachedError

    monkeypatch.setattr(Folders, "make", make)
    folder = kind(tmp_path)
    with pytest.raises(ReachedError):
        segsweep.run(STUDY, data=[folder] if several else folder)


@pytest.mark.parametrize("data", [3, {"pets": "/data"}, ["/data", 3], b"/data"])
def test_other_data_is_refused(data: object) -> None:
    """Anything else is refused in one line that shows the value and what is allowed."""
    with pytest.raises(UserError, match=r"^run: data=.*: must be a folder as a text or Path, or a list of them$"):
        segsweep.run(STUDY, data=data)  # type: ignore[arg-type]
