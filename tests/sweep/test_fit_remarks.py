"""The remark before a run if images of target and source are made square in different ways."""

from dataclasses import dataclass

import pytest

from segsweep import main
from segsweep.config import Study, Supervised, Target
from segsweep.data.folder import Folder
from segsweep.data.table import DataRoots
from segsweep.store.folder import FolderStore
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.fit_remarks import fit_remarks

ALIKE = "shapes and scales differ in addition to the domain; source_fit=resize or fit=crop makes them equal"


@dataclass(frozen=True)
class Cropped(Folder):
    """A user-defined dataset with another fit."""

    fit = "crop"


@pytest.fixture
def remarks(ellipses, tmp_path):
    def remarks_of(*sources, leakage="prevent", **fixed) -> list[str]:
        study = Study(
            "s",
            Target(f"folder:{ellipses}", leakage=leakage),
            compare={"source": list(sources)},
            fixed={"image_px": 32, "epochs": 1, **fixed},
        )
        catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None, user_objects=study.user_objects)
        return fit_remarks(study, catalog)

    return remarks_of


def test_differing_fits_of_target_and_source_are_reported(remarks, boxes):
    """One line names the sources whose fit differs from the target's, and the settings that make both equal."""
    mine = Supervised(Cropped(boxes, "mine"))
    source = f"supervised:folder:{boxes}"
    assert remarks("random", source, mine) == [
        f"images are made square by resize in the target and by crop in supervised:own:mine, so {ALIKE}"
    ]
    assert remarks(source, ("imagenet", Supervised(Cropped(boxes, "b"))), mine, source_fit="crop") == [
        f"images are made square by resize in the target and by crop in {source}, supervised:own:b, "
        f"supervised:own:mine, so {ALIKE}"
    ]


def test_the_remedy_silences_the_remark(remarks, boxes):
    """With either setting that the line names there is no remark; sources without labels never get one."""
    mine = Supervised(Cropped(boxes, "mine"))
    assert remarks(mine, source_fit="resize") == []
    assert remarks(mine, fit="crop") == []
    assert remarks("random", f"simclr:folder:{boxes}", source_fit="crop") == []


def test_a_published_run_is_repeated_without_the_remark(remarks, boxes):
    """A study that repeats a publication keeps its fits without a remark."""
    assert remarks(f"supervised:folder:{boxes}", source_fit="raw-crop", leakage="report") == []
    assert remarks(f"supervised:folder:{boxes}", source_fit="raw-crop")


def test_a_plan_and_a_run_print_the_same_remark(ellipses, boxes, tmp_path, monkeypatch, capsys):
    """`--plan` prints the line, and so does the run before it trains."""
    fixed = {"architecture": "unet4", "image_px": 32, "epochs": 1, "source_fit": "crop", "source": f"supervised:folder:{boxes}"}
    study = Study("s", Target(f"folder:{ellipses}"), compare={"freeze": ["none"]}, fixed=fixed, seeds=1)
    for options in (["--plan"], []):
        out = ["--out", str(tmp_path / "runs"), "--runner", "inline", "--device", "cpu", "--threads", "1"]
        monkeypatch.setattr("sys.argv", ["s.py", *options, *out])
        with pytest.raises(SystemExit) as ended:
            main(study)
        assert ended.value.code == 0
        printed = capsys.readouterr()
        assert f"by crop in supervised:folder:{boxes}, so {ALIKE}" in printed.out + printed.err
