"""What is said of classes before anything is trained, and which synonyms are refused."""

from pathlib import Path

import pytest

from segsweep.config import Study, Target
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.store.folder import Store
from segsweep.sweep.catalog import Catalog, class_maps
from segsweep.sweep.class_remarks import class_remarks

CLASSES = {
    "target": ("background", "car", "sign"),
    "city": ("road", "car", "traffic sign"),
    "objects": ("background", "car", "stop sign"),
    "animals": ("background", "cat"),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Four data sets of which nothing but the classes is there."""
    for name, classes in CLASSES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "classes.txt").write_text("\n".join(classes))
    return Catalog(DataRoots(tmp_path), Store(tmp_path / "store"), lambda *_: None)


def study(sources, synonyms=(), **fixed) -> Study:
    target = Target("target", class_map={"sign": list(synonyms)} if synonyms else {})
    return Study("s", target, compare={"source": [f"supervised:{name}" for name in sources]}, fixed={**fixed, "image_px": 32})


def test_each_source_takes_the_synonyms_that_it_has(catalog):
    """One class map serves several sources: each is mapped by what it has."""
    maps = class_maps(study(["city", "objects"], ["traffic sign", "stop sign"], transfer="all"), catalog)
    assert {name: mapped.rows for name, mapped in maps.items()} == {
        "supervised:city": ((), (1,), (2,)),
        "supervised:objects": ((0,), (1,), (2,)),
    }


def test_a_synonym_that_nobody_has_is_refused(catalog):
    """A synonym that is a class of no source is an error that lists theirs; one that another data set has may stay."""
    with pytest.raises(
        UserError, match=r"Target class_map sign <- 'trafic sign': is a class of no source; supervised:city: road"
    ):
        class_maps(study(["city"], ["trafic sign"], transfer="all"), catalog)
    assert class_maps(study(["city"], ["Stop Sign"], transfer="all"), catalog)  # COCO's
    with pytest.raises(UserError, match="'trafic sign'"):
        class_maps(study(["city"], ["trafic sign"]), catalog)


def test_maps_are_told_where_they_are_used(catalog):
    """Mappings are told for transfer=all and for domain_shift=on, and for nothing else."""
    assert class_remarks(study(["city"]), catalog) == []
    (told,) = class_remarks(study(["city"], transfer="all"), catalog)
    assert told.splitlines() == [
        "classes of the target <- of supervised:city:",
        "background <- (fresh)",
        "car        <- car",
        "sign       <- (fresh)",
    ]
    (told,) = class_remarks(study(["city"], ["traffic sign"], domain_shift="on"), catalog)
    assert "sign       <- traffic sign" in told
    assert told.endswith("before fine-tuning, all other classes of the source stand for the background")


def test_nothing_in_common_is_told_or_refused(catalog):
    """With domain_shift=on a source without a class of the target is told; with transfer=all it is an error."""
    (told,) = class_remarks(study(["animals"], domain_shift="on"), catalog)
    assert told.startswith("domain_shift=on: supervised:animals has no class of the target but the background")
    with pytest.raises(UserError, match="transfer=all from supervised:animals: no class of the target but the background"):
        class_maps(study(["animals"], transfer="all"), catalog)
