"""Running a trial: fine-tuning on the target, and for confirmed runs the test. The seam: no Ray in here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segsweep.config.normalisation import Normalisation
from segsweep.config.settings import Settings
from segsweep.config.work import Trial
from segsweep.data.dataset import Pixels
from segsweep.data.prepare import KIND as DATA_KIND
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_target, subset
from segsweep.domain_shift import Shift, measure_shift
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.stage import KIND as STAGE_KIND
from segsweep.stage import LAST, WEIGHTS, Started, load_source, normalisation_from
from segsweep.training.batches import PictureSet, normalisation_of
from segsweep.training.checkpoint import TrainingState, save_weights
from segsweep.training.evaluate import Evaluation, evaluate
from segsweep.training.frames import Frames, save_clip
from segsweep.training.loop import EpochResult, start_state, train
from segsweep.training.losses import make_objective
from segsweep.training.metrics import Counts, Floats, image_mean, image_scores, scores
from segsweep.training.recipe import Recipe
from segsweep.workplace import Workplace

KIND = "model"
CLIP = "clip.npz"
TEST_LOSSES = {"dice": "test_dice_loss", "focal": "test_focal_loss", "bce": "test_bce"}  # measured whatever was trained with
EXAMPLES = 6  # test pictures whose predictions are kept of every confirmed run


@dataclass(frozen=True)
class TrialOutcome:
    """A trial that has run to its end: `facts` are further columns of its record, `images` one row per test picture.

    `confusions` is the confusion matrix of the whole test split, one row per pair of classes that occurs.
    """

    facts: Mapping[str, Any]
    images: list[dict[str, Any]]
    confusions: list[dict[str, Any]]


def run_trial(trial: Trial, source_key: str | None, place: Workplace) -> Iterator[Started | EpochResult | TrialOutcome]:
    """Fine-tune, yielding what is known at the start, a result per epoch, and at last the outcome.

    `source_key` is the key of the source's last stage in the store, None for `random`. Only a confirmed run reads the
    test split; its best weights and first predictions are put into the store under the trial's id. A trial that was
    broken off continues from its last epoch.
    """
    place.device.apply_threads()
    settings = trial.settings
    data = Prepared.open(place.store.folder(DATA_KIND, trial.target_data))
    split = split_target(data, trial.target.protocol, settings.dev_share)
    train_set = PictureSet(data, subset(data, split.train, settings.fraction, trial.seed)).first(place.max_pictures)
    clip = settings.clip_images if trial.phase == "confirm" else 0
    val_set = spread_first(PictureSet(data, split.val).first(place.max_pictures), clip)
    model, facts = _start_model(trial, source_key, data, place)
    source = place.store.find(STAGE_KIND, source_key) if source_key is not None else None
    normalisation = normalisation_of(settings.normalisation, train_set, normalisation_from(source))
    facts["input_normalisation"] = str(normalisation)
    yield Started({"device": place.device.label, "train_images": len(train_set), "val_images": len(val_set), **facts})
    recipe = Recipe.of(settings.model_dump(), normalisation)
    checkpoint = place.store.workspace(trial_workspace(trial, place.records_id)) / LAST
    frames = Frames(checkpoint.parent, min(clip, len(val_set))) if clip else None
    state = start_state(model, recipe, place.device, checkpoint, place.world)
    yield from train(
        state,
        train_set,
        val_set,
        recipe,
        seed=trial.seed,
        device=place.device,
        checkpoint=checkpoint,
        world=place.world,
        frames=frames,
    )
    micro_batch = {"micro_batch": state.history[-1]["micro_batch"]}
    if trial.phase == "tune":
        yield TrialOutcome(micro_batch, [], [])
        return
    test_set = spread_first(PictureSet(data, split.test).first(place.max_pictures), EXAMPLES)
    tested, shift = _test(settings, state, train_set, test_set, normalisation, place), Shift()
    if settings.domain_shift == "on":
        batch_size = micro_batch["micro_batch"] or settings.batch_size
        shift = measure_shift(trial, source_key, state.best, test_set, place, batch_size=batch_size, examples=EXAMPLES)
    if place.world.main:
        with place.store.building(KIND, trial.trial_id) as build:
            if build.found is None:
                save_weights(state.best, build.folder / WEIGHTS)
                _save_examples(build.folder, test_set, {"predicted": tested.examples, "before": shift.examples})
                if frames is not None:
                    save_clip(build.folder / CLIP, frames, val_set, state.history)
                build.commit(_card(trial, data, model, tested, normalisation) | {"fit": _fit(trial, place)})
    facts = {**micro_batch, **_measured(tested, data), **shift.facts}
    yield TrialOutcome(facts, _image_rows(tested, test_set), _confusion_rows(tested.confusion_CC, data.classes))


def _start_model(
    trial: Trial, source_key: str | None, data: Prepared, place: Workplace
) -> tuple[SegmentationModel, dict[str, Any]]:
    """Return the model from which fine-tuning begins, and what the record tells of it."""
    settings, facts = trial.settings, {}
    model = build_model(settings.architecture, len(data.classes), trial.seed)
    if source_key is not None:
        artifact = place.store.find(STAGE_KIND, source_key)
        assert artifact is not None, f"stage {source_key} is not in the store"
        report = load_source(model, artifact, settings.transfer, place.store, data.classes, trial.target.class_map)
        facts = {"source_hash": artifact.content_hash, "transfer_report": str(report)}
    freeze(model, settings.freeze)
    trainable, total = model.parameter_counts()
    return model, {"trainable_parameters": trainable, "total_parameters": total, **facts}


def trial_workspace(trial: Trial, records_id: str) -> str:
    """Return where a trial's checkpoints are: apart for each study's records, for two studies may run equal trials at once."""
    return f"{records_id}-{trial.trial_id}" if records_id else trial.trial_id


def _test(
    settings: Settings,
    state: TrainingState[SegmentationModel],
    train_set: PictureSet,
    test_set: PictureSet,
    normalisation: Normalisation,
    place: Workplace,
) -> Evaluation:
    """Read the test split with the best weights."""
    data = test_set.data
    pixels = data.class_pixels(train_set.members)
    state.model.network.load_state_dict(state.best)
    return evaluate(
        state.model,
        test_set,
        loss=make_objective(settings.loss, data.classes, pixels),
        more_losses={name: make_objective(name, data.classes) for name in TEST_LOSSES},
        boundary=True,
        batch_size=state.history[-1]["micro_batch"] or settings.batch_size,
        precision=settings.precision,
        device=place.device,
        normalisation=normalisation,
        examples=EXAMPLES,
        world=place.world,
    )


def _measured(tested: Evaluation, data: Prepared) -> dict[str, Any]:
    """Return what a test measured, as columns of the trials table."""
    absent = [name for name, pixels in zip(data.classes, tested.confusion_CC.sum(axis=1), strict=True) if not pixels]
    return {
        "test_images": len(tested.counts_N3C),
        "absent_classes": ", ".join(absent) or None,
        "test_loss": tested.loss,
        **{column: tested.losses[name] for name, column in TEST_LOSSES.items()},
        **{f"test_{name}": value for name, value in tested.measures(data.classes).items()},
        "test_boundary_f": float(np.nanmean(_image_scores(tested)["boundary_f"])),
        "predict_seconds": tested.predict_seconds,
    }


def _image_scores(tested: Evaluation) -> dict[str, Floats]:
    """Return every image's scores (N,), its boundary F-score among them."""
    assert tested.boundary_NC is not None
    seen_N = tested.counts_N3C[:, 1].sum(axis=1) > 0
    boundary_f = image_mean(tested.boundary_NC, ~np.isnan(tested.boundary_NC), seen_N)
    return {**image_scores(tested.counts_N3C), "boundary_f": boundary_f}


def _image_rows(tested: Evaluation, test_set: PictureSet) -> list[dict[str, Any]]:
    """Return a row per test picture."""
    each, names = _image_scores(tested), test_set.data.names
    return [
        {"image": names[member], **{metric: float(values[position]) for metric, values in each.items()}}
        for position, member in enumerate(test_set.members)
    ]


def _confusion_rows(confusion_CC: Counts, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row per true and predicted class that have pixels in common."""
    return [
        {"truth": classes[truth], "predicted": classes[predicted], "pixels": int(confusion_CC[truth, predicted])}
        for truth, predicted in np.argwhere(confusion_CC)
    ]


def spread_first(pictures: PictureSet, count: int) -> PictureSet:
    """Return the same pictures with some from all over the set at the front, whose predictions will be kept."""
    shown = np.unique(np.linspace(0, len(pictures) - 1, count).astype(int))
    members = pictures.members
    return PictureSet(pictures.data, np.concatenate([members[shown], np.delete(members, shown)]))


def _card(
    trial: Trial, data: Prepared, model: SegmentationModel, tested: Evaluation, normalisation: Normalisation
) -> dict[str, Any]:
    return {
        "study": trial.study,
        "cell": trial.cell,
        "trial_id": trial.trial_id,
        "seed": trial.seed,
        "settings": trial.settings.model_dump(),
        "target": data.dataset,
        "classes": list(data.classes),
        **normalisation.as_dict(),
        "total_parameters": model.parameter_counts()[1],
        "test_iou": scores(tested.confusion_CC).iou,
    }


def _fit(trial: Trial, place: Workplace) -> str:
    """Return how the target's pictures became square, which whoever applies the model has to do alike."""
    artifact = place.store.find(DATA_KIND, trial.target_data)
    assert artifact is not None, f"data {trial.target_data} are not in the store"
    return str(artifact.metadata["fit"])


def _save_examples(folder: Path, test_set: PictureSet, predictions: Mapping[str, Iterable[Pixels]]) -> None:
    """Write pictures, true and predicted class numbers of the first test pictures as PNG; predictions by what they are."""
    shown = test_set.members[:EXAMPLES]
    data = test_set.data
    for what, pixels in {"picture": data.images[shown], "truth": data.masks[shown], **predictions}.items():
        for position, values in enumerate(pixels):
            Image.fromarray(np.ascontiguousarray(values)).save(folder / f"example-{position}-{what}.png")
