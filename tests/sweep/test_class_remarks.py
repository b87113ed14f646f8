"""Remarks on classes before a run, and synonyms that are rejected."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.config import Choice, Study, Target
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.store.folder import FolderStore
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.class_maps import class_maps
from segsweep.sweep.class_remarks import class_remarks

CLASSES = {
    "target": ("background", "car", "sign"),
    "city": ("road", "car", "traffic sign"),
    "objects": ("background", "car", "stop sign"),
    "animals": ("background", "cat"),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A target of two images, and three sources of which only the classes are known."""
    drawn(tmp_path / "target", [1, 2])
    for name, classes in CLASSES.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "images").mkdir(exist_ok=True)
        (tmp_path / name / "classes.txt").write_text("\n".join(classes))
    return Catalog(DataRoots(tmp_path), FolderStore(tmp_path / "store"), lambda *_: None)


def study(sources, synonyms=(), **fixed) -> Study:
    target = Target("target", class_map={"sign": list(synonyms)} if synonyms else {})
    return Study("s", target, compare={"source": [f"supervised:{name}" for name in sources]}, fixed={**fixed, "image_px": 32})


def test_each_source_uses_the_synonyms_that_it_has(catalog):
    """One class map serves several sources: for each source, the synonyms apply that it has."""
    maps = class_maps(study(["city", "objects"], ["traffic sign", "stop sign"], transfer="all"), catalog)
    assert {name: mapped.rows for name, mapped in maps.items()} == {
        "supervised:city": ((), (1,), (2,)),
        "supervised:objects": ((0,), (1,), (2,)),
    }


def test_a_synonym_without_a_dataset_is_rejected(catalog):
    """A synonym that no source has is an error that lists the sources' classes; a class of another known dataset is accepted."""
    with pytest.raises(
        UserError,
        match=r"Target class_map sign <- 'trafic sign': no source has this class; classes of sources: supervised:city: road",
    ):
        class_maps(study(["city"], ["trafic sign"], transfer="all"), catalog)
    assert class_maps(study(["city"], ["Stop Sign"], transfer="all"), catalog)  # COCO's
    with pytest.raises(UserError, match="'trafic sign'"):
        class_maps(study(["city"], ["trafic sign"]), catalog)


def test_class_maps_are_printed_if_they_are_used(catalog):
    """Class maps are printed for transfer=all and for domain_shift=on, and otherwise not."""
    assert class_remarks(study(["city"]), catalog) == []
    (lines,) = class_remarks(study(["city"], transfer="all"), catalog)
    assert lines.splitlines() == [
        "target classes <- classes of supervised:city:",
        "background <- (random weights)",
        "car        <- car",
        "sign       <- (random weights)",
    ]
    (lines,) = class_remarks(study(["city"], ["traffic sign"], domain_shift="on"), catalog)
    assert "sign       <- traffic sign" in lines
    assert lines.endswith("before fine-tuning, all other classes of the source count as background")


def test_no_common_class_is_a_remark_or_an_error(catalog):
    """A source without a class of the target gives a remark with domain_shift=on, and an error with transfer=all."""
    (lines,) = class_remarks(study(["animals"], domain_shift="on"), catalog)
    assert lines.startswith("domain_shift=on: supervised:animals has no target class except the background")
    with pytest.raises(UserError, match="from supervised:animals: source and target share no class except the background"):
        class_maps(study(["animals"], transfer="all"), catalog)


def drawn(folder: Path, masks: list[int]) -> Path:
    """Write a dataset of images that show the background and, for a number other than 0, one more class each."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("background\ncar\nsign\n")
    for number, label in enumerate(masks):
        mask = np.zeros((16, 16), dtype=np.uint8)
        mask[:8] = label
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
        Image.fromarray(np.full((16, 16, 3), number, dtype=np.uint8)).save(folder / "images" / f"{number:02d}.png")
    return folder


def remarks_of(folder: Path, tmp_path: Path, tune=None, **fixed) -> list[str]:
    """Return the remarks on a target before a run, after its data is prepared."""
    catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
    target = Target(f"folder:{folder}", protocol="official" if (folder / "val.txt").is_file() else "60-20-20")
    fixed = {**fixed, "image_px": 16}
    declared = Study("s", target, compare={"source": ["random"]}, tune=tune or {}, fixed=fixed, seeds=2)
    assert class_remarks(declared, catalog) == []  # a plan prepares nothing
    catalog.prepare(declared.target_name, None, 16)
    return class_remarks(declared, catalog)


def test_a_split_without_a_class_is_reported(tmp_path):
    """Each split that lacks a class is reported in one line: the split, its number of images, the class, and the consequence."""
    folder = drawn(tmp_path / "few", [1, 2, 1, 1, 2, 2])
    for part, names in {"train": ["00"], "val": ["01", "04"], "test": ["02", "03", "05"]}.items():
        (folder / f"{part}.txt").write_text("\n".join(names))
    assert remarks_of(folder, tmp_path) == [
        "none of the 2 val images shows class 'car', which has no IoU there and is left out of means",
        "none of the 1 train images shows class 'sign', which cannot be learned",
    ]


@pytest.mark.parametrize(
    ("keep", "effect"), [("val_iou", "epochs and settings are"), ("last", "settings are"), ("val_loss", None), ("val_dice", None)]
)
def test_a_validation_split_without_foreground_is_reported(tmp_path, keep, effect):
    """If no validation image shows the foreground, a line states what the loss decides; no line if `keep` needs no IoU."""
    folder = drawn(tmp_path / "few", [0, 1, 1, 0, 1, 1])
    (folder / "classes.txt").write_text("background\nfigure\n")
    for part, names in {"train": ["01", "02"], "val": ["00", "03"], "test": ["04", "05"]}.items():
        (folder / f"{part}.txt").write_text("\n".join(names))
    different_losses = {"loss": Choice("dice", "cross_entropy")}
    if effect:
        with pytest.raises(
            UserError, match="show no foreground, so the validation loss would choose the setting, but loss is tuned"
        ):
            remarks_of(folder, tmp_path / "tuned", tune=different_losses, keep=keep)
    lines = [line for line in remarks_of(folder, tmp_path, keep=keep) if "show no foreground" in line]
    start = "the val images show no foreground: its IoU is undefined, so"
    assert lines == ([f"{start} {effect} chosen by the validation loss; choose another protocol"] if effect else [])


def test_tuned_shares_need_equal_validation_images_to_be_chosen_by_loss(tmp_path):
    """Without foreground in validation, a tuned dev_share is chosen by the loss; that is an error if each share has its own
    images."""
    folder = drawn(tmp_path / "few", [1] + [0] * 39)
    (folder / "classes.txt").write_text("background\nfigure\n")
    for protocol in ("holdout-20", "holdout-20-own-val"):
        catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
        target = Target(f"folder:{folder}", protocol=protocol)
        tune = {"dev_share": Choice(0.4, 0.6)}
        declared = Study("s", target, compare={"source": ["random"]}, tune=tune, fixed={"image_px": 16}, seeds=1)
        catalog.prepare(declared.target_name, None, 16)
        if protocol.endswith("own-val"):
            with pytest.raises(UserError, match=r"the validation loss would choose the setting, but dev_share is tuned"):
                class_remarks(declared, catalog)
        else:
            assert any("show no foreground" in line for line in class_remarks(declared, catalog))


def test_two_classes_without_a_background_are_reported(tmp_path):
    """If neither of two classes is called background, a line names the class of the headline metrics."""
    folder = drawn(tmp_path / "two", [0, 1] * 10)
    (folder / "classes.txt").write_text("skin\nlesion\n")
    declared = Study("s", Target(f"folder:{folder}"), compare={"source": ["random"]}, fixed={"image_px": 16})
    catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
    (line,) = class_remarks(declared, catalog)
    assert line.startswith(
        "neither 'skin' nor 'lesion' is called background: IoU, F1, precision and recall are those of 'lesion'"
    )
    assert class_remarks(replace(declared, target=replace(declared.target, foreground="skin")), catalog) == []


def test_a_fraction_without_a_class_is_reported(tmp_path):
    """A seed's subset of the training split that lacks a class of the split is reported with its seed."""
    lines = remarks_of(drawn(tmp_path / "ten", [1, 2] * 5), tmp_path, fraction=0.2)
    assert len(lines) == 3
    for seed, line in enumerate(lines):
        assert line.startswith(f"none of the 1 train images of fraction=0.2 with seed {seed} shows class '")


def test_splits_with_all_classes_give_no_remark(tmp_path):
    """A target whose splits show every class gives no remark."""
    assert remarks_of(drawn(tmp_path / "all", [1, 2] * 10), tmp_path) == []
