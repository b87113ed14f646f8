"""The executor of scores: predicts how well a source model transfers to the target. It does not import Ray."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from segsweep.config.normalisation import Normalisation
from segsweep.config.source_score import ScoreSpec
from segsweep.config.study import TUNING_SEED
from segsweep.context import ExecutionContext
from segsweep.data.image_facts import image_facts
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_target, subset
from segsweep.models.architectures import build_model
from segsweep.models.encoder_name import encoder_name
from segsweep.models.fixed_encoder import fixed_encoder, fixed_encoder_name
from segsweep.stage import load_source, normalisation_from, source_sets
from segsweep.store.contents import DATA, SCORE, SCORES_FILE, WEIGHTS
from segsweep.store.protocol import Artifact
from segsweep.tasks.messages import Finished, Started
from segsweep.tasks.score_task import ScoreTask
from segsweep.training.batches import ImageSet
from segsweep.training.calibrate import layers_with_statistics, set_statistics
from segsweep.training.device import Device
from segsweep.training.image_distance import kernel_distance
from segsweep.training.left_out import Estimate, with_errors
from segsweep.training.pixel_features import pixel_features, sample_pixels
from segsweep.training.probe import image_features
from segsweep.training.transferability import PIXEL_SCORES

IMAGES = 200  # most images of the target whose pixels are scored, evenly spaced over the set
COMPARED_IMAGES = 100  # most images of the target, and of the source, whose distance is measured
RANDOM_SEEDS = 3  # models with random weights whose scores are averaged

Facts = dict[str, Any]


def execute_score(task: ScoreTask, keys: Sequence[str], context: ExecutionContext) -> Iterator[Started | Finished]:
    """Execute a task of the kind `score`; `keys` holds the key of the source's last stage, if there is one.

    Scores that the store already has are its outcome at once. Neither validation nor test images are used.

    Raises:
        LostArtifactError: the stage or the data is missing in the store, or damaged.
        UserError: the source's weights do not fit the architecture, or weights cannot be downloaded.
        FloatingPointError: the encoder's features are not finite.
    """
    context.device.set_up()
    spec, started = task.spec, time.monotonic()
    source = context.store.open(WEIGHTS, keys[0]) if keys else None
    yield Started({"device": context.device.label, "encoder": encoder_name(spec.settings.architecture)})
    with context.store.building(SCORE, spec.key(source.content_hash if source else None)) as build:
        if build.found is None:
            facts = score_source(spec, source, context)
            (build.folder / SCORES_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")
            build.commit({"source": spec.source, "facts": facts})
        assert build.found is not None
        found = build.found.metadata["facts"]
    yield Finished({**found, "seconds": time.monotonic() - started})


def score_source(spec: ScoreSpec, source: Artifact | None, context: ExecutionContext) -> Facts:
    """Return the scores of a source with their standard errors, and facts of the source and the target, as columns of a record.

    The encoder is that of a trial with this source before its first step. Statistics of normalisation layers that no data has set
    are computed from the target's images, as for a frozen encoder. The scores of random weights are means over three seeds. The
    distance of the images, which needs no masks, is measured for the largest subset only.

    Args:
        spec: Specification of the scores.
        source: Artifact of the source's last stage; None for random weights.
        context: Execution context.
    """
    target = _target_images(spec, context)
    sample, normalisation = sample_pixels(target), normalisation_from(source)
    encoders = _encoders(spec, source, target, normalisation, context.device)
    features = [pixel_features(each, target, sample, normalisation, context.device) for each in encoders]
    scores = _pixel_scores(features, sample.labels_N, sample.images_N)
    facts = {
        "images": len(target),
        "pixels": len(sample),
        **_columns(scores),
        **image_facts(target.data, target.members, "target_"),
    }
    if source is not None:
        facts |= {"source_classes": len(source.metadata["classes"]) if source.metadata["classes"] else None}
        facts |= {"source_val_mean_iou": source.metadata["facts"].get("val_mean_iou")}
    if spec.stage is not None and spec.stage.stage.trains:
        images = source_sets(spec.stage, context)[0]
        facts |= {"source_images": len(images), **image_facts(images.data, images.members, "source_")}
        facts |= _distance(spec, images, target, context) if spec.subset == "largest" else {}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in facts.items()}


def _target_images(spec: ScoreSpec, context: ExecutionContext) -> ImageSet:
    """Return the target's training images that are scored: those on which the tuning trials of the subset train, or a part."""
    settings, target = spec.settings, spec.target
    data = Prepared.open(context.store.open(DATA, spec.target_data).folder).with_foreground(target.foreground)
    split = split_target(data, target.protocol, settings.dev_share, settings.fold, groups=target.groups, leakage=target.leakage)
    members = subset(data, split.train, settings.fraction, TUNING_SEED)
    return ImageSet(data, members).first(context.max_images).spread(IMAGES)


def _encoders(
    spec: ScoreSpec, source: Artifact | None, target: ImageSet, normalisation: Normalisation, device: Device
) -> Iterator[nn.Module]:
    """Yield the encoders of the source: one, or several with random weights. Each is on the device."""
    for seed in range(1 if source is not None else RANDOM_SEEDS):
        model = build_model(spec.settings.architecture, len(target.data.classes), seed)
        loaded = load_source(model, source, "encoder").loaded if source is not None else ()
        prefix = model.parts.encoder
        layers = layers_with_statistics(model.encoder)
        unset = [layer for name, layer in layers.items() if f"{prefix}{name}.running_mean" not in loaded]
        encoder = model.encoder.to(device.torch)
        if unset:
            set_statistics(encoder, unset, target, normalisation, seed, device)
        yield encoder


def _pixel_scores(features: Sequence[Tensor], labels_N: Tensor, images_N: Tensor) -> dict[str, Estimate]:
    """Return the scores of an encoder's features with their standard errors; means over several encoders."""

    def means(kept: Tensor) -> list[float]:
        pixels = kept[images_N]
        parts = [each[pixels] for each in features]
        centred, labels = [part - part.mean(0) for part in parts], labels_N[pixels]
        return [sum(score(each, labels) for each in centred) / len(centred) for score in PIXEL_SCORES.values()]

    return dict(zip(PIXEL_SCORES, with_errors(means, int(images_N.max()) + 1), strict=True))


def _columns(scores: Mapping[str, Estimate]) -> Facts:
    """Return scores as columns: each value, and its standard error as `NAME_se`."""
    values = {name: each.value for name, each in scores.items()}
    return values | {f"{name}_se": each.error for name, each in scores.items()}


def _distance(spec: ScoreSpec, images: ImageSet, target: ImageSet, context: ExecutionContext) -> Facts:
    """Return the distance between the images of the source and of the target, as columns; nothing for fewer than two images."""
    images, target = images.spread(COMPARED_IMAGES), target.spread(COMPARED_IMAGES)
    if min(len(images), len(target)) < 2:
        return {}
    encoder, normalisation = fixed_encoder(spec.fixed_weights)
    encoder.to(context.device.torch)
    if spec.fixed_weights == "random":  # without statistics of its layers, random features vanish
        layers = list(layers_with_statistics(encoder).values())
        set_statistics(encoder, layers, target, normalisation, TUNING_SEED, context.device)
    of = partial(image_features, encoder, normalisation=normalisation, device=context.device)
    return {**_columns({"kid": kernel_distance(of(images), of(target))}), "kid_encoder": fixed_encoder_name(spec.fixed_weights)}
