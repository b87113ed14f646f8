"""Domain shift: the source's model on the target and the fine-tuned model on the source, against independent computations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segsweep import domain_shift
from segsweep.config.normalisation import Normalisation
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.stage_settings import stage_settings
from segsweep.config.study import Target
from segsweep.config.work import StageSpec, Trial
from segsweep.context import ExecutionContext
from segsweep.data.folder import Folder
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, split_target
from segsweep.domain_shift import measure_shift
from segsweep.models.architectures import build_model
from segsweep.stage import build_stage
from segsweep.store.contents import MODEL, WEIGHTS, WEIGHTS_FILE
from segsweep.store.folder import FolderStore
from segsweep.training.batches import ImageSet
from segsweep.training.checkpoint import load_weights
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.world import World
from segsweep.trial import EXAMPLES, run_trial, spread_first

PX = 32
SOURCE_CLASSES = ("road", "car", "sky", "stop sign", "background")
TARGET = Target("target", protocol="50-20-30", class_map={"sign": ["stop sign", "traffic sign"]})
TARGET_CLASSES = ("background", "car", "sign")
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
MEASURES = ("accuracy", "mean_accuracy", "precision", "recall", "f1", "iou", "mean_iou", "weighted_iou", "dice")


def write(folder: Path, classes, count: int, seed: int) -> Path:
    """Write images of four squares, each of one class, in colours that distinguish the classes."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(classes))
    for number in range(count):
        mask = rng.integers(len(classes), size=(4, 4)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        image = 60 * mask[..., None] % 200 + rng.integers(0, 50, size=(*mask.shape, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    return folder


@pytest.fixture
def context(tmp_path) -> ExecutionContext:
    return ExecutionContext(FolderStore(tmp_path / "store"), Device("cpu", 1))


@pytest.fixture
def make(tmp_path, context):
    """Return a function that builds a source stage and a confirmed trial on it, from the classes of both."""

    def keyed(name, classes, seed) -> str:
        request = DataSpec(Folder(write(tmp_path / name, classes, 20, seed), name), None, PX)
        prepare(request, context.store, lambda *_: None)
        return prepared_key(request, context.store, lambda *_: None)

    def build(source_classes=SOURCE_CLASSES, target_classes=TARGET_CLASSES, target=TARGET, **values) -> tuple[Trial, str]:
        values = {"batch_size": 4, "image_px": PX, "precision": "float32", "epochs": 1, "source_epochs": 2, **values}
        values |= {"source": "supervised:source", "domain_shift": "on", "learning_rate": 0.01, "source_learning_rate": 0.01}
        settings = Settings.build(**{"architecture": "unet4", **values})
        stage_options = stage_settings(settings, Stage("supervised"))
        spec = StageSpec(Stage("supervised", "source"), "unet4", 0, keyed("source", source_classes, 1), stage_options)
        *_, outcome = build_stage(spec, None, context)
        trial = Trial("s", "c", "confirm", settings, 1, target, keyed("target", target_classes, 2), spec)
        return trial, outcome.artifact.key

    return build


def weights_of(kind: str, key: str, context: ExecutionContext) -> dict[str, torch.Tensor]:
    return load_weights(context.store.open(kind, key).folder / WEIGHTS_FILE)[0]


def logits(weights, classes: int, data: Prepared, members, mean, std) -> np.ndarray:
    """Return the logits (N, C, H, W) of images, computed one at a time."""
    model = build_model("unet4", classes, seed=5)
    model.network.load_state_dict(weights)
    model.eval()
    found = []
    for member in members:
        image = (np.asarray(data.images[member]) / 255 - mean) / std
        with torch.no_grad():
            found.append(model(torch.from_numpy(image.transpose(2, 0, 1)[None]).float())[0].numpy())
    return np.stack(found)


def class_ious(truth, predicted, classes: int) -> list[float]:
    """Return the intersection over union of every class, NaN for a class without pixels."""
    found = []
    for number in range(classes):
        union = ((truth == number) | (predicted == number)).sum()
        found.append(((truth == number) & (predicted == number)).sum() / union if union else float("nan"))
    return found


def run(trial: Trial, key: str, context: ExecutionContext):
    *_, outcome = run_trial(trial, key, context)
    return outcome.facts


@pytest.mark.parametrize("normalisation", ["source", "imagenet", "own"])
def test_before_is_the_source_model_in_the_targets_classes(make, context, normalisation):
    """The measures before fine-tuning equal an independent computation with each source class mapped to the target's."""
    trial, key = make(normalisation=normalisation)
    facts = run(trial, key, context)
    data = Prepared.open(context.store.folder("data", trial.target_data))
    source = Prepared.open(context.store.folder("data", trial.stage.data))
    test = spread_first(ImageSet(data, split_target(data, TARGET.protocol).test), EXAMPLES).members
    mean, std = IMAGENET
    if normalisation == "own":
        images = np.asarray(source.images[split_source(source, None, 0).train]) / 255
        mean, std = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
    stands_for = np.array([0, 1, 0, 2, 0])  # road, car, sky, stop sign, background
    predicted = stands_for[logits(weights_of(WEIGHTS, key, context), 5, data, test, mean, std).argmax(axis=1)]
    truth = np.asarray(data.masks[test])
    ious = class_ious(truth, predicted, 3)
    assert [facts[f"before_iou_{name}"] for name in TARGET_CLASSES] == pytest.approx(ious, abs=1e-3)
    assert facts["before_mean_iou"] == pytest.approx(np.mean(ious), abs=1e-3)
    assert facts["before_accuracy"] == pytest.approx((truth == predicted).mean(), abs=1e-3)
    assert facts["before_mean_accuracy"] == pytest.approx(
        np.mean([(predicted[truth == number] == number).mean() for number in range(3)]), abs=1e-3
    )
    assert {name for name in facts if name.startswith("before_")} == {
        f"before_{name}" for name in (*MEASURES, *(f"iou_{name}" for name in TARGET_CLASSES))
    }
    assert all(f"test_{name}" in facts for name in MEASURES)
    folder = context.store.folder(MODEL, facts["model_key"])
    for number in range(len(test)):
        kept = np.asarray(Image.open(folder / f"example-{number}-before.png"))
        assert (kept == predicted[number]).mean() > 0.99


def test_without_a_background_other_classes_are_left_out(make, context):
    """If the target has no background, source classes without a class of the target are never predicted."""
    target = replace(TARGET, class_map={})
    trial, key = make(target_classes=("car", "sky", "thing"), target=target)
    facts = run(trial, key, context)
    data = Prepared.open(context.store.folder("data", trial.target_data))
    test = split_target(data, TARGET.protocol).test
    predicted = logits(weights_of(WEIGHTS, key, context), 5, data, test, *IMAGENET)[:, [1, 2]].argmax(axis=1)
    ious = class_ious(np.asarray(data.masks[test]), predicted, 3)
    assert [facts[f"before_iou_{name}"] for name in ("car", "sky", "thing")] == pytest.approx(ious, abs=1e-3)


def test_nothing_in_common_leaves_before_empty(make, context):
    """Without a common class there are no measures before fine-tuning, but forgetting is measured."""
    trial, key = make(target_classes=("background", "pet"), target=replace(TARGET, class_map={}))
    facts = run(trial, key, context)
    assert not [name for name in facts if name.startswith("before_")]
    assert facts["forgetting"] == facts["source_mean_iou_before"] - facts["source_mean_iou_after"]
    assert not list(context.store.folder(MODEL, facts["model_key"]).glob("example-*-before.png"))


@pytest.mark.parametrize(
    ("transfer", "same_classes", "moved"),
    [
        ("encoder", False, ("encoder.",)),
        ("all-but-classifier", False, ("encoder.", "decoder.")),
        ("all", False, ("encoder.", "decoder.")),
        ("all", True, ("encoder.", "decoder.", "classifier.")),
    ],
)
def test_forgetting_uses_the_transferred_weights(make, context, transfer, same_classes, moved):
    """The source is tested again with the fine-tuned values of all transferred weights and its original values of the rest.

    The classifier is the fine-tuned one only if it was transferred whole and both have the same classes.
    """
    classes = {"target_classes": SOURCE_CLASSES, "target": replace(TARGET, class_map={})} if same_classes else {}
    trial, key = make(transfer=transfer, **classes)
    facts = run(trial, key, context)
    source, fine_tuned = weights_of(WEIGHTS, key, context), weights_of(MODEL, facts["model_key"], context)
    assert {name.split(".")[0] for name in source} == {"encoder", "decoder", "classifier"}
    mixed = {name: fine_tuned[name] if name.startswith(moved) else tensor for name, tensor in source.items()}
    assert any(not torch.equal(mixed[name], source[name]) for name in mixed)
    data = Prepared.open(context.store.folder("data", trial.stage.data))
    val = split_source(data, None, 0).val
    truth = np.asarray(data.masks[val])
    after, before = (
        np.nanmean(class_ious(truth, logits(weights, 5, data, val, *IMAGENET).argmax(axis=1), 5)) for weights in (mixed, source)
    )
    assert facts["source_mean_iou_before"] == pytest.approx(before, abs=1e-3)
    assert facts["source_mean_iou_after"] == pytest.approx(after, abs=1e-3)
    assert facts["forgetting"] == pytest.approx(before - after, abs=2e-3)


def test_sources_without_known_classes_have_no_measures(make, context):
    """With random weights, and with the setting off, nothing is measured and no example is stored."""
    trial, key = make()
    fresh = replace(trial, stage=None, settings=Settings.build(**{**trial.settings.model_dump(), "source": "random"}))
    off = replace(trial, settings=Settings.build(**{**trial.settings.model_dump(), "domain_shift": "off"}))
    for other, source_key in ((fresh, None), (off, key)):
        facts = run(other, source_key, context)
        assert not [name for name in facts if name.startswith(("before_", "source_mean", "forgetting"))]
        assert not list(context.store.folder(MODEL, facts["model_key"]).glob("example-*-before.png"))


def test_a_rehearsal_and_a_world_reach_every_evaluation(make, context, monkeypatch):
    """The limit on images applies to the source's split too, and the processes of a world share every evaluation."""
    trial, key = make()
    data = Prepared.open(context.store.folder("data", trial.target_data))
    seen = []

    def spy(model, images, **values):
        seen.append((len(images), values["world"]))
        return evaluate(model, images, **values)

    monkeypatch.setattr(domain_shift, "evaluate", spy)
    test_set = ImageSet(data, np.arange(3))
    few = replace(context, max_images=1, world=World())
    fine_tuned = build_model("unet4", 3, seed=1).network.state_dict()
    measure_shift(trial, key, fine_tuned, test_set, few, batch_size=4)
    assert [count for count, _ in seen] == [3, 1, 1]
    assert all(world is few.world for _, world in seen)


def test_both_models_see_images_as_the_source_was_trained(make, context, monkeypatch):
    """Before and after, images are normalised with the mean and deviation of the source stage's training."""
    trial, key = make(normalisation="own")
    source = Prepared.open(context.store.folder("data", trial.stage.data))
    used = []
    monkeypatch.setattr(
        domain_shift, "evaluate", lambda *a, **values: used.append(values["normalisation"]) or evaluate(*a, **values)
    )
    test_set = ImageSet(Prepared.open(context.store.folder("data", trial.target_data)), np.arange(3))
    measure_shift(trial, key, build_model("unet4", 3, seed=1).network.state_dict(), test_set, context, batch_size=4)
    assert used == [Normalisation(*source.mean_std(split_source(source, None, 0).train))] * 3
