"""The scores of a source: which images they read, which encoder they score, and their record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segsweep import source_score
from segsweep.config.normalisation import IMAGENET
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.source_score import ScoreSpec
from segsweep.config.stage_settings import stage_settings
from segsweep.config.study import Target
from segsweep.config.work import StageSpec
from segsweep.context import ExecutionContext
from segsweep.data.folder import Folder
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, split_target, subset
from segsweep.errors import LostArtifactError
from segsweep.models.architectures import build_model
from segsweep.source_score import execute_score, score_source
from segsweep.stage import build_stage
from segsweep.store.contents import DATA, SCORE, WEIGHTS
from segsweep.store.folder import FolderStore
from segsweep.store.protocol import Artifact
from segsweep.tasks.score_task import MEASURED, ScoreTask
from segsweep.training.batches import ImageSet
from segsweep.training.device import Device
from segsweep.training.image_distance import kernel_distance
from segsweep.training.pixel_features import pixel_features, sample_pixels
from segsweep.training.transferability import log_evidence

PX = 32
TARGET = Target("target", protocol="60-20-20")
SETTINGS = {"architecture": "unet4", "image_px": PX, "batch_size": 8, "precision": "float32", "source_epochs": 1}


@pytest.fixture
def context(tmp_path: Path) -> ExecutionContext:
    return ExecutionContext(FolderStore(tmp_path / "store"), Device("cpu", 1))


@pytest.fixture
def keys(ellipses: Path, boxes: Path, context: ExecutionContext) -> dict[str, str]:
    """Return the keys of the prepared target and source."""
    requests = {"target": DataSpec(Folder(ellipses, "target"), None, PX), "source": DataSpec(Folder(boxes, "source"), None, PX)}
    for request in requests.values():
        prepare(request, context.store, lambda *_: None)
    return {name: prepared_key(request, context.store, lambda *_: None) for name, request in requests.items()}


def data_of(key: str, context: ExecutionContext) -> Prepared:
    return Prepared.open(context.store.open(DATA, key).folder)


@pytest.fixture
def random_spec(keys: dict[str, str]) -> ScoreSpec:
    """The scores of random weights on half of the training split."""
    settings = Settings.build(source="random", fraction=0.5, **SETTINGS)
    return ScoreSpec("s", None, settings, TARGET, keys["target"], "smallest", "random")


@pytest.fixture
def trained(keys: dict[str, str], context: ExecutionContext) -> tuple[ScoreSpec, Artifact]:
    """The scores of a supervised source on all training images, and the source's artifact."""
    settings = Settings.build(source="supervised:source", **SETTINGS)
    stage = StageSpec(
        Stage("supervised", "source"), "unet4", 0, keys["source"], stage_settings(settings, Stage("supervised", "source"))
    )
    *_, outcome = build_stage(stage, None, context)
    spec = ScoreSpec("s", stage, settings, TARGET, keys["target"], "largest", "random")
    return spec, context.store.open(WEIGHTS, outcome.artifact.key)


def test_scores_read_only_training_images(
    random_spec: ScoreSpec,
    trained: tuple[ScoreSpec, Artifact],
    context: ExecutionContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the target they read the images of the subset, and no image of the validation or test split."""
    read, original = set[int](), ImageSet._read

    def spy(images: ImageSet, places: np.ndarray) -> object:
        read.update(images.members[places].tolist() if images.data.dataset == "target" else [])
        return original(images, places)

    monkeypatch.setattr(ImageSet, "_read", spy)
    data = data_of(random_spec.target_data, context)
    chosen = subset(data, split_target(data, "60-20-20").train, 0.5, seed=0)
    spec, artifact = trained
    for each, source in ((random_spec, None), (replace(spec, settings=random_spec.settings), artifact)):
        read.clear()
        facts = score_source(each, source, context)
        assert read == set(chosen.tolist())
    assert (facts["images"], facts["target_foreground"]) == (12, pytest.approx((data.masks[chosen] == 1).mean()))
    assert facts["target_red_mean"] == pytest.approx(data.images[chosen, ..., 0].mean() / 255)


def test_random_weights_are_the_mean_of_three_models(random_spec: ScoreSpec, context: ExecutionContext) -> None:
    """LogME of `random` is the mean over the seeds 0 to 2, each with statistics of the target's images; it has no distance."""
    facts = score_source(random_spec, None, context)
    data = data_of(random_spec.target_data, context)
    images = ImageSet(data, subset(data, split_target(data, "60-20-20").train, 0.5, seed=0))
    sample, values = sample_pixels(images), []
    for seed in range(3):
        encoder = build_model("unet4", 2, seed).encoder
        layers = [each for each in encoder.modules() if isinstance(each, torch.nn.BatchNorm2d)]
        source_score.set_statistics(encoder, layers, images, IMAGENET, seed, context.device)
        values.append(log_evidence(pixel_features(encoder, images, sample, IMAGENET, context.device), sample.labels_N))
    assert facts["logme"] == pytest.approx(np.mean(values), abs=1e-9)
    assert facts["logme_se"] > 0
    assert not {"kid", "source_images"} & facts.keys()


def test_scores_of_a_trained_source(trained: tuple[ScoreSpec, Artifact], context: ExecutionContext) -> None:
    """They score the source's own encoder, and state facts of the source and its distance from the target."""
    spec, artifact = trained
    facts = score_source(spec, artifact, context)
    source, target = (data_of(key, context) for key in (spec.stage.data, spec.target_data))
    sets = ImageSet(source, split_source(source, None, 0).train), ImageSet(target, split_target(target, "60-20-20").train)
    assert (facts["source_images"], facts["source_classes"], facts["images"]) == (36, 2, 24)
    assert facts["source_val_mean_iou"] == artifact.metadata["facts"]["val_mean_iou"]
    assert facts["source_blue_std"] == pytest.approx(source.images[sets[0].members, ..., 2].std() / 255)
    encoder, normalisation = source_score.fixed_encoder("random")
    layers = list(source_score.layers_with_statistics(encoder).values())
    source_score.set_statistics(encoder, layers, sets[1], normalisation, 0, context.device)
    features = [source_score.image_features(encoder, each, normalisation, context.device) for each in sets]
    assert facts["kid"] == pytest.approx(kernel_distance(*features).value, rel=1e-6)
    assert facts["kid_encoder"] == "resnet18, random weights"
    model = build_model("unet4", 2, 5)
    source_score.load_source(model, artifact, "encoder")
    sample = sample_pixels(sets[1])
    of_source = pixel_features(model.encoder, sets[1], sample, source_score.normalisation_from(artifact), context.device)
    assert facts["logme"] == pytest.approx(log_evidence(of_source, sample.labels_N), abs=1e-9)
    assert facts.keys() <= MEASURED.keys()


def test_scores_are_computed_once(random_spec: ScoreSpec, context: ExecutionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second study finds the scores in the store; a subset, a protocol or weights of their own make others."""
    first = list(execute_score(ScoreTask(random_spec), (), context))[-1].facts
    monkeypatch.setattr(source_score, "score_source", None)
    again = list(execute_score(ScoreTask(replace(random_spec, study="other")), (), context))[-1].facts
    assert {**again, "seconds": None} == {**first, "seconds": None}
    assert again["seconds"] < first["seconds"]
    assert len(context.store.keys(SCORE)) == 1
    others = [
        replace(random_spec, settings=random_spec.settings.model_copy(update={"fraction": 1.0})),
        replace(random_spec, target=replace(TARGET, protocol="50-25-25")),
        replace(random_spec, fixed_weights="imagenet"),
        replace(random_spec, subset="largest"),  # whose distance of images is measured
    ]
    assert len({spec.key(None) for spec in (random_spec, *others)} | {random_spec.key("hash")}) == 6
    assert len({spec.score_id for spec in (random_spec, *others)}) == 5


def test_a_lost_source_is_no_failure_of_the_scores(trained: tuple[ScoreSpec, Artifact], context: ExecutionContext) -> None:
    """A source that the store has lost raises the error on which the driver builds it again."""
    spec, artifact = trained
    context.store.remove(WEIGHTS, artifact.key)
    with pytest.raises(LostArtifactError):
        list(execute_score(ScoreTask(spec), (artifact.key,), context))
