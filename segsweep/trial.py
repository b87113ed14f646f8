"""The executor of trials: fine-tunes on the target and, for confirmed runs, tests. It does not import Ray."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segsweep.config.digest import digest
from segsweep.config.normalisation import Normalisation
from segsweep.config.work import Trial
from segsweep.context import ExecutionContext
from segsweep.continued import continue_shorter
from segsweep.data.dataset import Pixels
from segsweep.data.originals import Originals
from segsweep.data.predictions import write_predictions
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Indices, split_target, subset
from segsweep.domain_shift import Shift, measure_shift
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.stage import load_source, normalisation_from, saved
from segsweep.store.contents import (
    BEFORE,
    CHECKPOINT_FILE,
    CLIP_FILE,
    DATA,
    IMAGE,
    MASKS,
    MODEL,
    PREDICTED,
    PREDICTIONS_FILE,
    TRUTH,
    WEIGHTS,
    WEIGHTS_FILE,
    example_file,
)
from segsweep.store.protocol import Artifact
from segsweep.tasks.messages import Finished, Started
from segsweep.tasks.trial_task import TrialTask
from segsweep.training.batches import ImageSet, normalisation_of
from segsweep.training.calibrate import calibrate
from segsweep.training.checkpoint import TrainingState, save_weights, weights_digest
from segsweep.training.evaluate import Evaluation, evaluate
from segsweep.training.frames import Frames, save_clip
from segsweep.training.loop import EpochResult, start_state, train
from segsweep.training.losses import make_objective
from segsweep.training.metrics import Counts
from segsweep.training.recipe import Recipe

TEST_LOSSES = {"dice": "test_dice_loss", "focal": "test_focal_loss", "bce": "test_bce"}  # in every test
EXAMPLES = 6  # test images that every confirmed run stores with truth and prediction
PREDICTED_IMAGES = 2000  # most test images whose predictions a confirmed run stores: the first of the split


def execute_trial(task: TrialTask, keys: Sequence[str], context: ExecutionContext) -> Iterator[Started | EpochResult | Finished]:
    """Execute a task of the kind `trial`; `keys` holds the key of the source's last stage, if there is one."""
    yield from run_trial(task.spec, keys[0] if keys else None, context)


def run_trial(trial: Trial, source_key: str | None, context: ExecutionContext) -> Iterator[Started | EpochResult | Finished]:
    """Fine-tune on the target; yield the facts known at the start, a result per epoch, and finally the outcome.

    Only a confirmed run reads the test split. Its outcome has three tables: `images` with a row per test image; `counts` with a
    row per test image and class that occurs in it; `confusions`, the confusion matrix of the whole split, with a row per pair of
    classes that occurs. It writes its best weights and first predictions to the store, and its record names them. An interrupted
    trial resumes from its last epoch.

    Args:
        trial: Specification of the trial.
        source_key: Key of the source's last stage in the store; None for `random`.
        context: Execution context.

    Raises:
        LostArtifactError: the data or the stage is missing in the store, or damaged.
    """
    context.device.set_up()
    settings = trial.settings
    target = trial.target
    data = Prepared.open(context.store.open(DATA, trial.target_data).folder).with_foreground(target.foreground)
    split = split_target(data, target.protocol, settings.dev_share, settings.fold, groups=target.groups, leakage=target.leakage)
    train_set = ImageSet(data, subset(data, split.train, settings.fraction, trial.seed)).first(context.max_images)
    clip = settings.clip_images if trial.phase == "confirm" else 0
    val_set = spread_first(ImageSet(data, split.val).first(context.max_images), clip)
    source = context.store.open(WEIGHTS, source_key) if source_key is not None else None
    normalisation = normalisation_of(settings.normalisation, train_set, normalisation_from(source))
    model, facts = _start_model(trial, source, train_set, normalisation, context)
    sizes = {"train_images": len(train_set), "val_images": len(val_set), "dropped_duplicates": split.dropped}
    recipe = Recipe.of(settings.model_dump(), normalisation)
    checkpoints = context.store.checkpoints(TrialTask(trial).checkpoints_id(context.records_id))
    checkpoint = checkpoints.open() / CHECKPOINT_FILE
    frames = Frames(checkpoint.parent, min(clip, len(val_set))) if clip else None
    facts["continued_from"] = continue_shorter(trial, checkpoint.parent, context)
    state = start_state(model, recipe, context.device, checkpoint, context.world)
    yield Started({"device": context.device.label, **sizes, "input_normalisation": str(normalisation), **facts, **state.facts})
    results = train(
        state,
        train_set,
        val_set,
        recipe,
        seed=trial.seed,
        device=context.device,
        checkpoint=checkpoint,
        world=context.world,
        frames=frames,
    )
    yield from saved(results, checkpoints, context.world)
    micro_batch = {"micro_batch": state.history[-1]["micro_batch"]}
    if trial.phase != "confirm":
        yield Finished(micro_batch)
        return
    trained = _Trained(trial, data, train_set, normalisation, state, context)
    test_set = _test_set(trained, split.test)
    tested, shift = _test(trained, test_set), Shift()
    if settings.domain_shift == "on":
        batch_size = micro_batch["micro_batch"] or settings.batch_size
        shift = measure_shift(trial, source_key, state.best, test_set, context, batch_size=batch_size, examples=EXAMPLES)
    kept = _store_model(trained, test_set, tested, shift, frames, val_set) if context.world.main else {}
    tables = {
        "images": _image_rows(tested, test_set),
        "counts": _count_rows(tested.counts_N3C, test_set),
        "confusions": _confusion_rows(tested.confusion_CC, data.classes),
    }
    yield Finished({**micro_batch, **kept, **_measured(tested, data), **shift.facts}, tables)


@dataclass(frozen=True)
class _Trained:
    """A trained trial, with everything that its test needs."""

    trial: Trial
    data: Prepared
    train_set: ImageSet
    normalisation: Normalisation
    state: TrainingState[SegmentationModel]
    context: ExecutionContext


def _start_model(
    trial: Trial, source: Artifact | None, train_set: ImageSet, normalisation: Normalisation, context: ExecutionContext
) -> tuple[SegmentationModel, dict[str, Any]]:
    """Return the model with its initial weights, and the columns of the record that describe it."""
    settings, data = trial.settings, train_set.data
    facts: dict[str, Any] = {}
    transferred, absent = tuple[str, ...](), tuple[str, ...]()
    sigmoid_class = data.foreground if settings.output == "sigmoid" else None
    model = build_model(settings.architecture, len(data.classes), trial.seed, sigmoid_class)
    if source is not None:
        report = load_source(model, source, settings.transfer, data.classes, trial.target.class_map)
        transferred, absent = report.loaded, report.absent
        facts = {"source_hash": source.content_hash, "transfer_report": str(report)}
    freeze(model, settings.freeze, transferred, absent, frozen_norm=settings.frozen_norm)
    calibrated = calibrate(
        model, transferred, train_set, normalisation, seed=trial.seed, device=context.device, world=context.world
    )
    trainable, total = model.parameter_counts()
    counts = {"trainable_parameters": trainable, "total_parameters": total, "calibrated_layers": calibrated}
    return model, {**counts, **facts}


def _test_set(trained: _Trained, members: Indices) -> ImageSet:
    """Return the images of the test split, with masks at their original size if the trial is measured at that size."""
    trial, data, context = trained.trial, trained.data, trained.context
    if trial.target_masks is not None and trial.settings.test_size == "original":
        data = replace(data, originals=Originals.open(context.store.open(MASKS, trial.target_masks).folder))
    return spread_first(ImageSet(data, members).first(context.max_images), EXAMPLES)


def _test(trained: _Trained, test_set: ImageSet) -> Evaluation:
    """Evaluate the best weights on the test split."""
    settings, data, state = trained.trial.settings, test_set.data, trained.state
    frequencies = data.class_frequencies(trained.train_set.members)
    state.model.network.load_state_dict(state.best)
    return evaluate(
        state.model,
        test_set,
        loss=make_objective(settings.loss, data.classes, frequencies, data.foreground),
        more_losses={name: make_objective(name, data.classes, foreground=data.foreground) for name in TEST_LOSSES},
        boundary=True,
        batch_size=state.history[-1]["micro_batch"] or settings.batch_size,
        precision=settings.precision,
        device=trained.context.device,
        normalisation=trained.normalisation,
        examples=EXAMPLES,
        predictions=PREDICTED_IMAGES,
        world=trained.context.world,
    )


def _store_model(
    trained: _Trained, test_set: ImageSet, tested: Evaluation, shift: Shift, frames: Frames | None, val_set: ImageSet
) -> dict[str, str]:
    """Write the best weights, the first predictions and the clip of a confirmed run to the store, unless they exist.

    Return the columns by which the record names them. Their key is a digest of the weights and of all test results, so that it
    differs from that of any other run of the same trial: by another study, on other hardware or with changed code.
    """
    state, card = trained.state, _card(trained, tested)
    key = digest([json.dumps(card, sort_keys=True), weights_digest(state.best), tested.confusion_CC.tolist()])
    with trained.context.store.building(MODEL, key) as build:
        if build.found is None:
            save_weights(state.best, build.folder / WEIGHTS_FILE)
            _save_examples(build.folder, test_set, {PREDICTED: tested.examples, BEFORE: shift.examples})
            names = [test_set.data.names[member] for member in test_set.members[:PREDICTED_IMAGES]]
            write_predictions(build.folder / PREDICTIONS_FILE, names, tested.predictions)
            if frames is not None:
                save_clip(build.folder / CLIP_FILE, frames, val_set, state.history)
            build.commit(card)
        assert build.found is not None
        return {"model_key": key, "model_hash": build.found.content_hash}


def _measured(tested: Evaluation, data: Prepared) -> dict[str, Any]:
    """Return the test results as columns of the trials table."""
    absent = [name for name, pixels in zip(data.classes, tested.confusion_CC.sum(axis=1), strict=True) if not pixels]
    return {
        "test_images": len(tested.counts_N3C),
        "absent_classes": ", ".join(absent) or None,
        "foreground": _foreground_name(data),
        "test_loss": tested.loss,
        **{column: tested.losses[name] for name, column in TEST_LOSSES.items()},
        **{f"test_{name}": value for name, value in tested.measures(data.classes).items()},
        "test_boundary_f": float(np.nanmean(tested.image_scores["boundary_f"])),
        "predict_seconds": tested.predict_seconds,
    }


def _foreground_name(data: Prepared) -> str | None:
    """Return the class that headline metrics measure; None if they are means over classes."""
    return data.classes[data.foreground] if len(data.classes) == 2 else None


def _image_rows(tested: Evaluation, test_set: ImageSet) -> list[dict[str, Any]]:
    """Return a row per test image."""
    each, names = tested.image_scores, test_set.data.names
    return [
        {"image": names[member], **{metric: float(values[position]) for metric, values in each.items()}}
        for position, member in enumerate(test_set.members)
    ]


def _count_rows(counts_N3C: Counts, test_set: ImageSet) -> list[dict[str, Any]]:
    """Return a row per test image and class in its truth or prediction: pixels that are hit, true and predicted."""
    data = test_set.data
    rows = []
    for position, number in np.argwhere(counts_N3C.any(axis=1)):
        hit, true, predicted = counts_N3C[position, :, number].tolist()
        name = data.names[test_set.members[position]]
        rows.append({"image": name, "class": data.classes[number], "hit": hit, "true": true, "predicted": predicted})
    return rows


def _confusion_rows(confusion_CC: Counts, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row per pair of true and predicted class with common pixels."""
    return [
        {"truth": classes[truth], "predicted": classes[predicted], "pixels": int(confusion_CC[truth, predicted])}
        for truth, predicted in np.argwhere(confusion_CC)
    ]


def spread_first(image_set: ImageSet, count: int) -> ImageSet:
    """Return the same images, reordered so that `count` evenly spaced ones, whose predictions are stored, come first."""
    shown = np.unique(np.linspace(0, len(image_set) - 1, count).astype(int))
    members = image_set.members
    return ImageSet(image_set.data, np.concatenate([members[shown], np.delete(members, shown)]))


def _card(trained: _Trained, tested: Evaluation) -> dict[str, Any]:
    """Return the model card stored beside the weights: what the model is, and what its users need to know."""
    trial, data = trained.trial, trained.data
    return {
        "study": trial.study,
        "cell": trial.cell,
        "trial_id": trial.trial_id,
        "seed": trial.seed,
        "settings": trial.settings.model_dump(),
        **({"own": dict(trial.fingerprints)} if trial.fingerprints else {}),
        "target": data.dataset,
        "classes": list(data.classes),
        **trained.normalisation.as_dict(),
        "total_parameters": trained.state.model.parameter_counts()[1],
        "foreground": _foreground_name(data),
        "test_iou": tested.scores.iou,
        "fit": data.fit,
        "bits": data.bits,
    }


def _save_examples(folder: Path, test_set: ImageSet, predictions: Mapping[str, Iterable[Pixels]]) -> None:
    """Write the first test images, their masks and their predictions as PNG; `predictions` maps the kind to the pixels."""
    shown = test_set.members[:EXAMPLES]
    data = test_set.data
    for what, pixels in {IMAGE: data.images[shown], TRUTH: data.masks[shown], **predictions}.items():
        for position, values in enumerate(pixels):
            Image.fromarray(np.ascontiguousarray(values)).save(folder / example_file(position, what))
