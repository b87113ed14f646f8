"""Adaptation of a declared study to the available data."""

from pathlib import Path

import pytest

from segsweep.cli.stand_ins import with_class_map_of_target, with_stand_ins
from segsweep.cli.study_script import main
from segsweep.config import Study, Target
from segsweep.data.table import DataRoots

WANTED = "supervised:cityscapes@100"
STAND_INS = {WANTED: ["supervised:coco", "imagenet+supervised:voc2012"]}


@pytest.fixture
def roots(tmp_path: Path) -> DataRoots:
    """A root with VOC and COCO, and a folder with two classes."""
    for folder in ("VOCdevkit", "coco2017/annotations", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mine" / "images").mkdir()
    (tmp_path / "mine" / "classes.txt").write_text("background\ncar\n")
    return DataRoots(tmp_path)


def study(target: str = "pets", sources: tuple[str, ...] = ("random", WANTED), **values: object) -> Study:
    compare, fixed = {"source": list(sources), "freeze": ["none"]}, {"architecture": "unet4", "image_px": 32}
    return Study("s", Target(target, **values), compare=compare, fixed=fixed)  # type: ignore[arg-type]


def sources_of(changed: Study) -> list[str]:
    return [cell.source for _, cell in changed.cells()]


def test_the_first_available_stand_in_replaces_a_source(roots: DataRoots) -> None:
    """An absent source is replaced by the first stand-in whose data is found, and one line reports it."""
    changed, lines = with_stand_ins(study(), STAND_INS, roots)
    assert sources_of(changed) == ["random", "supervised:coco"]
    assert lines == [f"source {WANTED} is not available: supervised:coco replaces it (--set source=... chooses another)"]
    assert sources_of(with_stand_ins(study("coco"), STAND_INS, roots)[0]) == ["random", "imagenet+supervised:voc2012"]


def test_nothing_changes_without_an_absent_source(roots: DataRoots, tmp_path: Path) -> None:
    """An available source stays, and so does one without stand-ins, and a study without it."""
    (tmp_path / "cityscapes" / "gtFine").mkdir(parents=True)
    assert with_stand_ins(study(), STAND_INS, roots) == (study(), [])
    nothing = DataRoots()
    assert with_stand_ins(study(), STAND_INS, nothing) == (study(), [])
    other = study(sources=("random", "supervised:ade20k"))
    assert with_stand_ins(other, STAND_INS, nothing) == (other, [])


def test_a_stand_in_that_the_study_already_has_is_one_cell(roots: DataRoots) -> None:
    """If the study has the stand-in as a source, too, it is one cell."""
    changed, _ = with_stand_ins(study(sources=("supervised:coco", WANTED)), STAND_INS, roots)
    assert sources_of(changed) == ["supervised:coco"]


def test_the_targets_own_folder_is_no_stand_in(roots: DataRoots, tmp_path: Path) -> None:
    """A stand-in in the target's folder is skipped, whatever the name of the target."""
    for target in ("coco", "coco/all", f"folder:{tmp_path / 'coco2017'}"):
        assert sources_of(with_stand_ins(study(target), STAND_INS, roots)[0]) == ["random", "imagenet+supervised:voc2012"]


def test_spelling_variants_of_a_class_match_in_a_class_map(roots: DataRoots, tmp_path: Path) -> None:
    """`traffic_sign` in a class map is the target's class `Traffic sign`."""
    (tmp_path / "mine" / "classes.txt").write_text("background\nTraffic sign\n")
    declared = study("mine", class_map={"traffic_sign": ["stop sign"]})
    assert with_class_map_of_target(declared, roots) == (declared, [])


def test_a_class_map_keeps_the_classes_of_another_target(roots: DataRoots) -> None:
    """Entries for classes that the new target lacks are removed from the class map and reported."""
    declared = study("mine", class_map={"car": ["bus"], "sign": ["stop sign"]})
    changed, lines = with_class_map_of_target(declared, roots)
    assert dict(changed.target.class_map) == {"car": ["bus"]}
    assert lines == ["class_map entries are ignored: sign; mine has no such class"]
    assert with_class_map_of_target(changed, roots) == (changed, [])


@pytest.mark.parametrize(
    ("arguments", "replaced"),
    [
        ((), True),
        (("--set", "freeze=encoder"), True),
        (("--set", "source=random"), False),
        (("--as-published",), False),
    ],
)
def test_a_chosen_source_and_the_published_run_are_left_alone(
    roots: DataRoots, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], replaced: bool
) -> None:
    """Stand-ins are used unless the run is the published one, or the command line chooses the source."""
    declared = study("generated_street")
    options = ["--runner", "inline", "--plan", "--data", str(roots.root), "--out", str(tmp_path / "runs"), *arguments]
    with pytest.raises(SystemExit):
        main(declared, as_published=declared, stand_ins=STAND_INS, arguments=options)
    assert ("supervised:coco replaces it" in capsys.readouterr().err) is replaced
