"""The scripts of the published studies declare exactly the papers' runs, and show their results beside the published numbers."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from segsweep.config.narrow import narrow
from segsweep.config.settings import Settings
from segsweep.config.source import Source
from segsweep.config.study import Study
from segsweep.data.folder import Folder
from segsweep.data.scenes import GENERATED, Generated
from segsweep.data.splits import split_sizes
from segsweep.data.table import DATASETS, split_scheme
from segsweep.models.architectures import check_architecture
from segsweep.models.freeze import check_freeze_fits

SWEEPS = Path(__file__).parents[2] / "sweeps"
NAMES = ("source_domains", "architectures", "domain_shift", "encoders", "self_supervised")
VOC, ADE20K = "imagenet+supervised:voc2012", "imagenet+supervised:ade20k"
PUBLISHED_CELLS = {  # source, architecture, transfer, freeze, and the development share where there is one
    "source_domains": {
        ("random", "deeplabv3-resnet50", "none", "none"),
        ("supervised:coco", "deeplabv3-resnet50", "encoder", "encoder"),
        ("supervised:coco", "deeplabv3-resnet50", "encoder", "none"),
        ("supervised:isic2018", "deeplabv3-resnet50", "encoder", "encoder"),
        ("supervised:cityscapes/raw", "deeplabv3-resnet50", "encoder", "encoder"),
        ("supervised:mas3k", "deeplabv3-resnet50", "encoder", "encoder"),
        ("supervised:voc2012", "deeplabv3-resnet50", "encoder", "encoder"),
    },
    "architectures": {
        ("coco-weights", "fcn-resnet50", "all-but-classifier", "encoder"),
        ("coco-weights", "deeplabv3-resnet50", "all-but-classifier", "encoder"),
        (VOC, "denseaspp-densenet121", "all-but-classifier", "encoder"),
        (ADE20K, "denseaspp-densenet121", "all-but-classifier", "encoder"),
        (VOC, "cutdenseaspp-densenet161", "all-but-classifier", "encoder"),
        (ADE20K, "cutdenseaspp-densenet161", "all-but-classifier", "encoder"),
    },
    "domain_shift": {("imagenet+supervised:cityscapes", "deeplabv3plus-mobilenet_v2", "all", "none")},
    "encoders": {
        ("random", "unet_no_norm", "none", "none"),
        ("imagenet", "unet-vgg16", "encoder", "encoder"),
        ("imagenet", "unet-vgg16", "encoder", "none"),
        ("imagenet", "unet-densenet121", "encoder", "encoder"),
        ("imagenet", "unet-resnet50", "encoder", "encoder"),
        ("imagenet", "unet-mobilenet_v2", "encoder", "encoder"),
    },
    "self_supervised": {
        (source, "unet-resnet50", "encoder", "none", share)
        for source in ("imagenet", "imagenet+simclr:cifar10", "imagenet+simclr:cats_dogs")
        for share in (0.2, 0.5, 0.8)
    },
}
PUBLISHED_SETTINGS = {  # settings that the papers state for every run
    "source_domains": {"epochs": 10, "source_epochs": 10, "learning_rate": 1e-3, "optimizer": "adam", "loss": "cross_entropy",
                       "augmentation": "flip", "image_px": 256},
    "architectures": {"epochs": 10, "augmentation": "rotate_flip_jitter_blur", "augmented_copies": 1, "normalisation": "own",
                      "image_px": 256},
    "domain_shift": {"steps": 24, "validations": 24, "batch_size": 8, "augmentation": "crop_flip_jitter", "loss": "cross_entropy",
                     "image_px": 256, "domain_shift": "on"},
    "encoders": {"epochs": 50, "learning_rate": 1e-5, "optimizer": "adam", "loss": "dice", "augmentation": "none",
                 "image_px": 256},
    "self_supervised": {"epochs": 60, "learning_rate": 1e-4, "optimizer": "adam", "loss": "bce", "ssl_epochs": 20,
                        "ssl_stem": "usual", "image_px": 256},
}  # fmt: skip
PROTOCOLS = {
    "source_domains": ("pets", "foreground", "60-20-20"),
    "architectures": ("pets", "trimap", "50-25-25"),
    "domain_shift": ("street46", None, "70-10-20"),
    "encoders": ("pets", "foreground", "60-20-20"),
    "self_supervised": ("pets", "foreground", "holdout-20-own-val"),
}
FITS = {  # how the paper resizes its sources; it does not state how it resizes COCO
    "supervised:coco": "resize",
    "supervised:isic2018": "nearest",
    "supervised:mas3k": "nearest",
    "supervised:cityscapes/raw": "raw-crop",
    "supervised:voc2012": "raw-crop",
}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SWEEPS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_fit(name: str, choice: str) -> str:
    """Return how the images of a dataset become square; a name that is not in the table is a folder."""
    known = split_scheme(name)[0]
    reader = Generated(known) if known in GENERATED else DATASETS[known].reader(Path()) if known in DATASETS else Folder
    return reader.fit if choice == "own" else choice


def target_fit(study: Study, cell: Settings) -> str:
    return data_fit(study.target_name, cell.fit)


def source_fits(cell: Settings) -> set[str]:
    """Return the ways in which the images of a cell's supervised sources become square."""
    stages = [stage for stage in Source.parse(cell.source).stages if stage.kind == "supervised"]
    return {data_fit(stage.name, cell.source_fit) for stage in stages}


def declared(name: str) -> list[Study]:
    """Return the studies of a script except the published one: its study, its demo, and its study under each preset."""
    module = script(name)
    presets = getattr(module, "presets", {})
    return [module.study, module.demo, *(narrow(module.study, texts) for texts in presets.values())]


@pytest.mark.parametrize("name", [*NAMES, "transfer_grid", "custom_dataset"])
def test_sources_become_square_like_the_target(name):
    """In every study, demo and preset, images of supervised sources become square in the same way as those of the target."""
    for study in declared(name):
        for _, cell in study.cells():
            assert source_fits(cell) <= {target_fit(study, cell)}, (study.name, cell.source)


@pytest.mark.parametrize("name", NAMES)
def test_as_published_declares_exactly_the_published_cells(name):
    """`--as-published` has one confirmed run for every row of the paper's table, with the settings that the paper states."""
    study = script(name).as_published
    cells = [settings for _, settings in study.cells()]
    shares = [() if cell.dev_share is None else (cell.dev_share,) for cell in cells]
    axes = [(cell.source, cell.architecture, cell.transfer, cell.freeze) for cell in cells]
    found = [(*each, *share) for each, share in zip(axes, shares, strict=True)]
    assert set(found) == PUBLISHED_CELLS[name]
    assert len(found) == len(set(found))
    assert (study.seeds, dict(study.tune)) == (1, {})
    assert (study.target.name, study.target.classes, study.target.protocol) == PROTOCOLS[name]
    for cell in cells:
        assert {key: getattr(cell, key) for key in PUBLISHED_SETTINGS[name]} == PUBLISHED_SETTINGS[name]
        if name == "source_domains":
            assert source_fits(cell) == ({FITS[cell.source]} if cell.source in FITS else set())
            assert target_fit(study, cell) == "resize"
            assert cell.source_split == ("all" if cell.source in ("supervised:voc2012", "supervised:mas3k") else "official")


def test_dense_aspp_has_the_optimiser_of_its_paper():
    """As published, DenseASPP is trained by the recipe of its paper: Adam, 3e-4, weight decay 1e-5, poly."""
    cells = [cell for _, cell in script("architectures").as_published.cells() if "aspp" in cell.architecture]
    assert {(c.optimizer, c.learning_rate, c.weight_decay, c.schedule) for c in cells} == {("adam", 3e-4, 1e-5, "poly")}


@cache
def check_can_be_built(architecture: str, image_px: int, freeze: str) -> None:
    check_architecture(architecture, image_px)
    check_freeze_fits(architecture, freeze)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["study", "as_published", "demo"])
def test_every_model_of_the_scripts_can_be_built(name, which):
    """No script declares an architecture, size or freeze policy that cannot be built."""
    for _, settings in getattr(script(name), which).cells():
        check_can_be_built(settings.architecture, settings.image_px, settings.freeze)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["study", "as_published"])
def test_every_published_run_has_a_matching_cell(name, which):
    """Each row of the published table has a matching cell, in `--as-published` and in the default study."""
    study = getattr(script(name), which)
    cells = [settings.model_dump() for _, settings in study.cells()]
    for run in study.published.runs:
        wanted = {**run.cell, "source": str(Source.parse(run.cell["source"]))}
        alike = [cell for cell in cells if all(cell[axis] == value for axis, value in wanted.items())]
        if which == "as_published":
            assert len(alike) == 1, run.name
        elif not (name == "architectures" and run.cell["source"] == ADE20K):  # the default study leaves it out
            assert alike, run.name


def test_the_default_study_of_sources_is_fair():
    """By default sources have equal size and equal steps, one preprocessing, frozen and unfrozen runs, and three seeds."""
    study = script("source_domains").study
    cells = [settings for _, settings in study.cells()]
    sources = {cell.source for cell in cells}
    assert all(source == "random" or source.endswith("@2300") for source in sources)
    assert {(cell.source, cell.freeze) for cell in cells} == {(s, f) for s in sources for f in ("none", "encoder")}
    assert {cell.source_fit for cell in cells} == {"resize"}
    assert len({(cell.source_epochs, cell.source_steps, cell.source_batch_size) for cell in cells}) == 1
    assert (study.seeds, list(study.tune)) == (3, ["learning_rate"])


def test_the_default_self_supervised_study_is_fair():
    """Both sources have the same number of images and steps, from random and ImageNet weights, at two temperatures."""
    study = script("self_supervised").study
    cells = [settings for _, settings in study.cells()]
    simclr = [cell for cell in cells if "simclr" in cell.source]
    assert {cell.source.rpartition(":")[2] for cell in simclr} == {"cifar10@20000", "cats_dogs@20000"}
    assert {cell.source.partition("simclr")[0] for cell in simclr} == {"", "imagenet+"}
    assert {(cell.ssl_temperature, cell.dev_share) for cell in simclr} == {(t, s) for t in (0.1, 0.5) for s in (0.2, 0.5, 0.8)}
    assert study.target.protocol == "holdout-20"  # one validation split for all shares
    assert len({(cell.ssl_steps, cell.ssl_batch_size, cell.source_image_px) for cell in simclr}) == 1
    assert {cell.source for cell in cells} - {cell.source for cell in simclr} == {"random", "imagenet"}


def test_as_published_cifar_is_not_resized():
    """As published, SimCLR sees CIFAR-10 at 32 pixels and photos at the target's size."""
    sizes = {(cell.source, cell.source_px) for _, cell in script("self_supervised").as_published.cells()}
    assert {size for source, size in sizes if source.endswith("cifar10")} == {32}
    assert {size for source, size in sizes if source.endswith("cats_dogs")} == {256}


def test_the_domain_shift_has_both_rows_and_the_papers_split():
    """The paper's tables are one row before fine-tuning and one after; 46 images are split 32/5/9; as published, only the source
    is cropped."""
    module = script("domain_shift")
    for study in (module.study, module.as_published, module.demo):
        assert [(run.name, run.before) for run in study.published.runs] == [("Before", True), ("After", False)]
        assert {cell.domain_shift for _, cell in study.cells()} == {"on"}
        assert split_sizes(["train"] * 46, ["train"], study.target.protocol) == (32, 5, 9)
    assert {(cell.fit, cell.source_fit) for _, cell in module.as_published.cells()} == {("resize", "crop")}
    assert len(list(module.study.cells())) == 8
    assert (module.study.seeds, list(module.study.tune)) == (3, ["learning_rate"])
    assert "supervised:camvid" not in module.STAND_INS[module.CITYSCAPES]


FOLLOWED = {  # output, frozen normalisation and kept epoch, as the papers state them or their framework implies
    "source_domains": ("softmax", {"encoder": "train", "none": "eval"}, "val_loss"),
    "architectures": ("softmax", {"encoder": "train"}, "val_loss"),
    "domain_shift": ("softmax", {"none": "eval"}, "last"),
    "encoders": ("sigmoid", {"encoder": "eval", "none": "eval"}, "val_dice"),
    "self_supervised": ("sigmoid", {"none": "eval"}, "val_loss"),
}


@pytest.mark.parametrize("name", NAMES)
def test_as_published_follows_the_papers_framework(name):
    """In every run, outputs, the normalisation of frozen encoders and the kept epoch are those of the paper."""
    cells = [cell for _, cell in script(name).as_published.cells()]
    output, frozen_norm, keep = FOLLOWED[name]
    assert {(cell.output, cell.keep) for cell in cells} == {(output, keep)}
    assert {cell.freeze: cell.frozen_norm for cell in cells} == frozen_norm


@pytest.mark.parametrize("name", NAMES)
def test_every_deviation_is_in_the_docstring_and_below_the_table(name):
    """The deviations of the published table are the points of the script's docstring, each once. No other part of the docstring
    repeats them, and the default study and the demo have none."""
    module = script(name)
    stated, text = module.as_published.published.deviations, " ".join(module.__doc__.split())
    assert len(stated) == len(set(stated)) >= 5
    assert all(text.count(each) == 1 for each in stated)
    assert text.count("not stated") == " ".join(stated).count("not stated")
    assert (module.study.published.deviations, module.demo.published.deviations) == ((), ())
    assert module.as_published.published.note == ""


def test_the_table_of_encoders_compares_validation_scores():
    """The paper lists each run's best epoch on validation images, so the scores beside it are of validation images too."""
    module = script("encoders")
    for study in (module.study, module.as_published, module.demo):
        assert {tuple(run.measures) for run in study.published.runs} == {("val_dice", "val_iou", "val_accuracy")}
