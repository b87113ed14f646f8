"""Running a trial: fine-tuning on the target, and for confirmed runs the test. The seam: no Ray in here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segsweep.config.settings import Settings
from segsweep.config.work import Trial
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Split, split_target, subset
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.stage import KIND as STAGE_KIND
from segsweep.stage import LAST, WEIGHTS, Started, load_source
from segsweep.training.batches import PictureSet
from segsweep.training.checkpoint import TrainingState, save_weights
from segsweep.training.evaluate import Evaluation, evaluate
from segsweep.training.loop import EpochResult, Length, Recipe, start_state, train
from segsweep.training.metrics import image_scores, scores
from segsweep.workplace import Workplace

KIND = "model"
EXAMPLES = 6  # test pictures whose predictions are kept of every confirmed run


@dataclass(frozen=True)
class TrialOutcome:
    """A trial that has run to its end: `facts` are further columns of its record, `images` one row per test picture."""

    facts: Mapping[str, Any]
    images: list[dict[str, Any]]


def run_trial(trial: Trial, source_key: str | None, place: Workplace) -> Iterator[Started | EpochResult | TrialOutcome]:
    """Fine-tune, yielding what is known at the start, a result per epoch, and at last the outcome.

    `source_key` is the key of the source's last stage in the store, None for `random`. Only a confirmed run reads the
    test split; its best weights and first predictions are put into the store under the trial's id. A trial that was
    broken off continues from its last epoch.
    """
    place.device.apply_threads()
    settings = trial.settings
    data = Prepared.open(place.store.folder("data", trial.target_data))
    split = split_target(data, trial.target.protocol)
    train_set = PictureSet(data, subset(data, split.train, settings.fraction, trial.seed)).first(place.max_pictures)
    val_set = PictureSet(data, split.val).first(place.max_pictures)
    model = build_model(settings.architecture, len(data.classes), trial.seed)
    source = {}
    if source_key is not None:
        artifact = place.store.find(STAGE_KIND, source_key)
        assert artifact is not None, f"stage {source_key} is not in the store"
        report = load_source(model, artifact, settings.transfer, place.store)
        source = {"source_hash": artifact.content_hash, "transfer_report": str(report)}
    freeze(model, settings.freeze)
    trainable, total = model.parameter_counts()
    yield Started(
        {
            "device": place.device.label,
            "trainable_parameters": trainable,
            "total_parameters": total,
            "train_images": len(train_set),
            "val_images": len(val_set),
            **source,
        }
    )
    recipe = recipe_of(settings)
    checkpoint = place.store.workspace(trial_workspace(trial, place.records_id)) / LAST
    state = start_state(model, recipe, place.device, checkpoint, place.world)
    yield from train(
        state, train_set, val_set, recipe, seed=trial.seed, device=place.device, checkpoint=checkpoint, world=place.world
    )
    yield TrialOutcome({}, []) if trial.phase == "tune" else _test(trial, state, split, data, place)


def trial_workspace(trial: Trial, records_id: str) -> str:
    """Return where a trial's checkpoints are: apart for each study's records, for two studies may run equal trials at once."""
    return f"{records_id}-{trial.trial_id}" if records_id else trial.trial_id


def recipe_of(settings: Settings) -> Recipe:
    """Return what the loop is told by a trial's settings. The precision must be settled: `auto` is none."""
    assert settings.precision != "auto"
    return Recipe(
        length=Length(settings.epochs, settings.steps, settings.validations),
        **settings.model_dump(include=set(Recipe.__dataclass_fields__) - {"length"}),
    )


def _test(trial: Trial, state: TrainingState, split: Split, data: Prepared, place: Workplace) -> TrialOutcome:
    """Read the test split with the best weights, keep the model and its first predictions, and return the outcome."""
    settings, model = trial.settings, state.model
    model.network.load_state_dict(state.best)
    test_set = examples_first(PictureSet(data, split.test).first(place.max_pictures))
    tested = evaluate(
        model,
        test_set,
        loss=settings.loss,
        batch_size=settings.batch_size,
        precision=settings.precision,
        device=place.device,
        examples=EXAMPLES,
        world=place.world,
    )
    whole, each = scores(tested.confusion_CC), image_scores(tested.confusion_NCC)
    if place.world.main:
        with place.store.building(KIND, trial.trial_id) as build:
            if build.found is None:
                save_weights(state.best, build.folder / WEIGHTS)
                _save_examples(build.folder, test_set, tested)
                build.commit(_card(trial, data, model, whole.iou))
    names = [data.names[member] for member in test_set.members]
    measured = {
        "test_images": len(test_set),
        "test_loss": tested.loss,
        "test_accuracy": whole.accuracy,
        "test_mean_accuracy": whole.mean_accuracy,
        "test_precision": whole.precision,
        "test_recall": whole.recall,
        "test_f1": whole.f1,
        "test_iou": whole.iou,
        "test_mean_iou": whole.mean_iou,
        "test_weighted_iou": whole.weighted_iou,
        "test_dice": float(np.nanmean(each["dice"])),  # an image that is ignored altogether counts nowhere
        "predict_seconds": tested.predict_seconds,
        **{f"test_iou_{name}": iou for name, iou in zip(data.classes, whole.class_iou, strict=True)},
    }
    rows = [
        {"image": name, **{metric: float(values[position]) for metric, values in each.items()}}
        for position, name in enumerate(names)
    ]
    return TrialOutcome(measured, rows)


def examples_first(pictures: PictureSet) -> PictureSet:
    """Return the same pictures with some from all over the set at the front, whose predictions will be kept."""
    shown = np.unique(np.linspace(0, len(pictures) - 1, EXAMPLES).astype(int))
    members = pictures.members
    return PictureSet(pictures.data, np.concatenate([members[shown], np.delete(members, shown)]))


def _card(trial: Trial, data: Prepared, model: SegmentationModel, test_iou: float) -> dict[str, Any]:
    return {
        "study": trial.study,
        "cell": trial.cell,
        "trial_id": trial.trial_id,
        "seed": trial.seed,
        "settings": trial.settings.model_dump(),
        "target": data.dataset,
        "classes": list(data.classes),
        "total_parameters": model.parameter_counts()[1],
        "test_iou": test_iou,
    }


def _save_examples(folder: Path, test_set: PictureSet, tested: Evaluation) -> None:
    """Write pictures, true and predicted class numbers of the first test pictures as PNG."""
    for position, predicted in enumerate(tested.examples):
        row = int(test_set.members[position])
        for what, pixels in (
            ("picture", test_set.data.images[row]),
            ("truth", test_set.data.masks[row]),
            ("predicted", predicted),
        ):
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"example-{position}-{what}.png")
