from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from copying_store import CopyingStore
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from segsweep import trial as trials
from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.stage_settings import stage_settings
from segsweep.config.study import Target
from segsweep.config.work import StageSpec, Trial
from segsweep.context import ExecutionContext
from segsweep.data.folder import Folder
from segsweep.data.manifest import hash_file
from segsweep.data.originals import originals_key, prepare_originals
from segsweep.data.predictions import read_predictions
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_target, subset
from segsweep.errors import LostArtifactError, UserError
from segsweep.models.architectures import build_model
from segsweep.models.transfer import transfer_weights
from segsweep.stage import build_stage
from segsweep.store.contents import MODEL, WEIGHTS, WEIGHTS_FILE
from segsweep.store.folder import FolderStore
from segsweep.store.protocol import Artifact
from segsweep.tasks.messages import Finished, Started
from segsweep.training import batches, calibrate, loop
from segsweep.training.batches import ImageSet, normalise
from segsweep.training.checkpoint import load_weights, save_weights
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.loop import EpochResult
from segsweep.training.losses import make_objective
from segsweep.trial import EXAMPLES, run_trial, spread_first

COUNT = 40
IMAGE_PX = 32
TARGET = Target("drawn", protocol="60-20-20")


@pytest.fixture
def context(tmp_path) -> ExecutionContext:
    return ExecutionContext(FolderStore(tmp_path / "store"), Device("cpu", 1))


@pytest.fixture
def data(tmp_path, context) -> str:
    """The key of a prepared target of 40 drawn images with two classes."""
    folder = tmp_path / "drawn"
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nthing\n")
    for number in range(COUNT):
        mask = rng.integers(2, size=(2, 2)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
        noise = rng.integers(0, 60, size=(*mask.shape, 3))
        Image.fromarray((180 * mask[..., None] + noise).astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    request = DataSpec(Folder(folder, "drawn"), None, IMAGE_PX)
    prepare(request, context.store, lambda *_: None)
    return prepared_key(request, context.store, lambda *_: None)


def make(data: str, phase="tune", seed=1, stage=None, **values) -> Trial:
    standard = {"epochs": 2, "batch_size": 4, "image_px": IMAGE_PX, "precision": "float32", "architecture": "unet4"}
    if stage is not None:
        standard["source"] = "file:w.safetensors"
    settings = Settings.build(**{**standard, **values})
    return Trial("s", "c", phase, settings, seed, TARGET, data, stage)


def run(trial: Trial, context: ExecutionContext, source_key=None) -> tuple[Started, list[EpochResult], Finished]:
    started, *epochs, outcome = run_trial(trial, source_key, context)
    return started, epochs, outcome


def model_in_store(trial: Trial, context: ExecutionContext) -> Artifact | None:
    """Return the only model of a trial in the store; None if there is none."""
    found = [context.store.open(MODEL, key, verify="changed") for key in context.store.keys(MODEL)]
    models = [model for model in found if model.metadata["trial_id"] == trial.trial_id]
    assert len(models) < 2
    return models[0] if models else None


def opened(data: str, context: ExecutionContext) -> Prepared:
    return Prepared.open(context.store.folder("data", data))


@pytest.fixture
def source(context, tmp_path):
    """Return a function that stores a stage with whole weights of one architecture."""

    def make_source(name="unet4", classes=7):
        weights = build_model(name, classes, seed=99).network.state_dict()
        weights = {key: t if t.dtype == torch.int64 else t + 0.01 for key, t in weights.items()}
        path = tmp_path / "w.safetensors"
        save_weights(weights, path)
        spec = StageSpec(Stage("file", str(path)), name, seed=0, data="hash of the file")
        *_, outcome = build_stage(spec, None, context)
        return spec, outcome.artifact, weights

    return make_source


def spoiled(data: str, context: ExecutionContext) -> None:
    """Overwrite the images of the test split and update the checksums, so that any use of the test split changes numbers."""
    prepared, artifact = opened(data, context), context.store.open("data", data)
    aside = artifact.folder.rename(context.store.temporary / "aside")
    with context.store.building("data", data) as build:
        for path in aside.iterdir():
            path.rename(build.folder / path.name)
        images = np.load(build.folder / "images.npy", mmap_mode="r+")
        images[split_target(prepared, TARGET.protocol).test] = 77
        images.flush()
        (build.folder / "artifact.json").unlink()
        build.commit(artifact.metadata)


def test_tuning_leaves_the_test_split_alone(data, context, monkeypatch):
    """A tuning trial reads no image of the test split: it validates only, tests nothing, and stores no model."""
    clean = run(make(data), context)[1]
    context.store.checkpoints(make(data).trial_id).clear()
    spoiled(data, context)
    monkeypatch.setattr(trials, "evaluate", lambda *_, **__: pytest.fail("it was tested"))
    trial = make(data)
    started, epochs, outcome = run(trial, context)
    split = split_target(opened(data, context), TARGET.protocol)
    assert (started.facts["train_images"], started.facts["val_images"]) == (len(split.train), len(split.val))
    assert [(e.train_loss, e.val_loss) for e in epochs] == [(e.train_loss, e.val_loss) for e in clean]
    assert outcome == Finished({"micro_batch": 4})
    assert model_in_store(trial, context) is None


def test_confirmed_run_tests_once_with_its_best_weights(data, context, monkeypatch):
    """A confirmed run reads the test split once, at the end, with the weights of its best epoch."""
    calls = []

    def spy(model, images, **values):
        calls.append((images.members.tolist(), {k: t.clone() for k, t in model.network.state_dict().items()}))
        return evaluate(model, images, **values)

    monkeypatch.setattr(trials, "evaluate", spy)
    trial = make(data, "confirm", learning_rate=0.1, epochs=3)
    _, _, outcome = run(trial, context)
    ((members, tested),) = calls
    assert sorted(members) == split_target(opened(data, context), TARGET.protocol).test.tolist()
    kept, _ = load_weights(model_in_store(trial, context).folder / WEIGHTS_FILE)
    assert kept.keys() == tested.keys()
    assert all(torch.equal(kept[name], tested[name]) for name in kept)
    assert outcome.facts["test_images"] == len(members)


def validated_as(monkeypatch, hits):
    """Make validation count the given numbers of hits in 1000 pixels of either class after each epoch."""
    scores = iter(hits)

    def measured(*args, **values):
        hit = next(scores)
        confusion = np.array([[hit, 1000 - hit], [1000 - hit, hit]])
        each = np.stack([np.diag(confusion), confusion.sum(1), confusion.sum(0)])
        return replace(evaluate(*args, **values), confusion_CC=confusion, counts_N3C=each[None])

    monkeypatch.setattr(loop, "evaluate", measured)


@pytest.mark.parametrize("broken_off", [False, True])
def test_a_run_whose_best_epoch_is_not_its_last_tests_and_keeps_the_best(data, context, tmp_path, monkeypatch, broken_off):
    """With the best validation after the first of three epochs, weights, test and predictions are those of a one-epoch run."""
    validated_as(monkeypatch, [900, 800, 700])
    trial = make(data, "confirm", epochs=3, learning_rate=0.01)
    if broken_off:
        steps = run_trial(trial, None, context)
        _, *_ = (next(steps) for _ in range(3))
        steps.close()
    _, epochs, outcome = run(trial, context)
    assert [epoch.best for epoch in epochs] == [True, False, False]
    others = {}
    for name, hits in (("best", [900]), ("last", [700, 800, 900])):
        validated_as(monkeypatch, hits)
        there = ExecutionContext(FolderStore(tmp_path / name), context.device)
        (there.store.root / "data").symlink_to(context.store.root / "data")
        other = make(data, "confirm", epochs=len(hits), learning_rate=0.01)
        others[name] = run(other, there)[2], model_in_store(other, there)
    kept, (best, best_kept), (last, last_kept) = model_in_store(trial, context), others["best"], others["last"]
    hashes = [hash_file(each.folder / WEIGHTS_FILE) for each in (kept, best_kept, last_kept)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert outcome.tables == best.tables != last.tables
    assert outcome.facts["test_loss"] == best.facts["test_loss"] != last.facts["test_loss"]
    files = [(each.folder / "predictions.zip").read_bytes() for each in (kept, best_kept, last_kept)]
    assert files[0] == files[1] != files[2]


@pytest.fixture
def coloured(tmp_path, context) -> tuple[Path, str]:
    """A folder of dark training, bright validation and medium test images, and the key of its arrays.

    Each image has its own brightness, and its own share of the second class.
    """
    rng, folder = np.random.default_rng(0), tmp_path / "coloured"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nthing\n")
    for split, count, level, rows in (("train", 24, 10, 4), ("val", 8, 190, 28), ("test", 8, 110, 16)):
        for number in range(count):
            mask = np.zeros((IMAGE_PX, IMAGE_PX), np.uint8)
            mask[: rows - 2 + number % 5] = number % 3 > 0
            image = level + 2 * number + 10 * mask[..., None] + rng.integers(0, 5, (IMAGE_PX, IMAGE_PX, 3))
            Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{split}{number:02d}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{split}{number:02d}.png")
        (folder / f"{split}.txt").write_text("\n".join(f"{split}{number:02d}" for number in range(count)))
    request = DataSpec(Folder(folder, "coloured"), None, IMAGE_PX)
    prepare(request, context.store, lambda *_: None)
    return folder, prepared_key(request, context.store, lambda *_: None)


def read_part(folder: Path, names, part: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / part / f"{name}.png")) for name in names])


def test_all_statistics_are_those_of_the_images_that_train(coloured, context, monkeypatch):
    """All statistics are computed on the training images of the fraction only, as numpy computes them from the files.

    These are normalisation, statistics of a frozen encoder and class weights; validation, test and other training images are
    excluded.
    """
    folder, key = coloured
    used, counted = [], []
    for module in (batches, calibrate):
        real = module.normalise
        monkeypatch.setattr(module, "normalise", lambda images, given, real=real: used.append(given) or real(images, given))
    for module in (loop, trials):
        real = module.make_objective
        spy = lambda *args, real=real, **values: counted.append((args, values)) or real(*args, **values)  # noqa: E731
        monkeypatch.setattr(module, "make_objective", spy)
    values = {"normalisation": "own", "fraction": 0.5, "loss": "weighted_cross_entropy", "freeze": "encoder", "epochs": 1}
    trial = replace(make(key, "confirm", architecture="unet-resnet18", **values), target=Target("t", protocol="official"))
    run(trial, context)
    prepared = opened(key, context)
    split = split_target(prepared, "official")
    names = [prepared.names[member] for member in subset(prepared, split.train, 0.5, trial.seed)]
    assert len(names) == 12
    images, masks = read_part(folder, names, "images"), read_part(folder, names, "masks")
    mean, std = images.mean((0, 1, 2)) / 255, images.std((0, 1, 2)) / 255
    (found,) = set(used)
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(std))
    shows = np.stack([(masks == number).any((1, 2)) for number in (0, 1)])
    frequencies = [(masks == number).sum() / masks[shows[number]].size for number in (0, 1)]
    given = [
        next(each for each in (*args[2:3], values.get("frequencies")) if each is not None)
        for args, values in counted
        if args[0] == "weighted_cross_entropy"
    ]
    assert len(given) == 2
    assert all(each == pytest.approx(frequencies) for each in given)
    conv = build_model("unet-resnet18", 2, trial.seed).encoder.conv1
    with torch.no_grad():
        features = conv(torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float())
    final, _ = load_weights(model_in_store(trial, context).folder / WEIGHTS_FILE)
    assert final["encoder.bn1.running_mean"].numpy() == pytest.approx(features.mean((0, 2, 3)).numpy(), abs=1e-4)


def test_test_metrics_are_those_of_the_kept_model(data, context):
    """Test metrics and the row of every test image equal scikit-learn's on predictions of the stored model."""
    trial = make(data, "confirm")
    _, _, outcome = run(trial, context)
    prepared = opened(data, context)
    test = spread_first(ImageSet(prepared, split_target(prepared, TARGET.protocol).test), EXAMPLES).members
    model = build_model("unet4", 2, seed=0)
    model.network.load_state_dict(load_weights(model_in_store(trial, context).folder / WEIGHTS_FILE)[0])
    loss = make_objective("cross_entropy", prepared.classes)
    options = {"loss": loss, "batch_size": 3, "precision": "float32", "device": context.device}
    found = evaluate(model, ImageSet(prepared, test), **options, examples=len(test))
    truth = prepared.masks[test]
    facts = outcome.facts
    assert facts["test_loss"] == pytest.approx(found.loss, rel=1e-5)
    assert facts["test_accuracy"] == pytest.approx((truth == found.examples).mean())
    assert facts["test_f1"] == pytest.approx(f1_score(truth.ravel(), found.examples.ravel(), zero_division=0))
    assert facts["test_iou"] == pytest.approx(jaccard_score(truth.ravel(), found.examples.ravel(), zero_division=0))
    assert (facts["test_iou_thing"], facts["test_mean_iou"]) == pytest.approx(
        (facts["test_iou"], (facts["test_iou_ground"] + facts["test_iou_thing"]) / 2)
    )
    dice = [f1_score(a.ravel(), b.ravel(), zero_division=1) for a, b in zip(truth, found.examples, strict=True)]
    assert [row["image"] for row in outcome.tables["images"]] == [prepared.names[member] for member in test]
    assert [row["dice"] for row in outcome.tables["images"]] == pytest.approx(dice)
    assert facts["test_dice"] == pytest.approx(np.mean(dice))
    for column, name in (("test_dice_loss", "dice"), ("test_focal_loss", "focal"), ("test_bce", "bce")):
        alone = evaluate(model, ImageSet(prepared, test), **options | {"loss": make_objective(name, prepared.classes)})
        assert facts[column] == pytest.approx(alone.loss, rel=1e-5)
    assert facts["test_boundary_f"] == pytest.approx(np.mean([row["boundary_f"] for row in outcome.tables["images"]]))
    assert 0 <= facts["test_boundary_f"] < 1
    expected = confusion_matrix(truth.ravel(), found.examples.ravel(), labels=[0, 1])
    classes = range(len(prepared.classes))
    each = [confusion_matrix(a.ravel(), b.ravel(), labels=classes) for a, b in zip(truth, found.examples, strict=True)]
    numbers = [(m[c, c], m[c].sum(), m[:, c].sum()) for m in each for c in classes if m[c].any() or m[:, c].any()]
    assert [(row["hit"], row["true"], row["predicted"]) for row in outcome.tables["counts"]] == numbers
    named = [
        (prepared.names[n], prepared.classes[c])
        for n, m in zip(test, each, strict=True)
        for c in classes
        if m[c].any() or m[:, c].any()
    ]
    assert [(row["image"], row["class"]) for row in outcome.tables["counts"]] == named
    pixels = {(row["truth"], row["predicted"]): row["pixels"] for row in outcome.tables["confusions"]}
    assert all(pixels.values())
    assert [[pixels.get((t, p), 0) for p in prepared.classes] for t in prepared.classes] == expected.tolist()


def test_model_artifact_has_card_and_examples(data, context):
    """The artifact of a confirmed run has weights, a card, and image, truth and prediction of its first test images."""
    trial = make(data, "confirm")
    run(trial, context)
    artifact = model_in_store(trial, context)
    prepared = opened(data, context)
    test = spread_first(ImageSet(prepared, split_target(prepared, TARGET.protocol).test), EXAMPLES).members
    whats = ("picture", "truth", "predicted")
    names = {f"example-{number}-{what}.png" for number in range(EXAMPLES) for what in whats}
    assert {path.name for path in artifact.folder.iterdir()} == {*names, WEIGHTS_FILE, "predictions.zip", "artifact.json"}
    for number in range(EXAMPLES):
        image, truth, predicted = (np.asarray(Image.open(artifact.folder / f"example-{number}-{what}.png")) for what in whats)
        assert np.array_equal(image, prepared.images[test[number]])
        assert np.array_equal(truth, prepared.masks[test[number]])
        assert predicted.shape == truth.shape
        assert predicted.max() <= 1
    kept = dict(read_predictions(artifact.folder / "predictions.zip"))
    assert list(kept) == [prepared.names[member] for member in test]
    for number in range(EXAMPLES):
        shown = np.asarray(Image.open(artifact.folder / f"example-{number}-predicted.png"))
        assert np.array_equal(kept[prepared.names[test[number]]], shown)
    assert artifact.metadata["classes"] == ["ground", "thing"]
    assert artifact.metadata["settings"] == trial.settings.model_dump()
    assert artifact.metadata["fit"] == "resize"


@pytest.mark.parametrize("architecture", ["unet4", "unet-mobilenet_v2"])
def test_frozen_transferred_encoder_ends_as_the_source(data, context, source, architecture):
    """With a frozen encoder the final model's encoder equals the source's bit for bit, including statistics and counters."""
    spec, artifact, weights = source(architecture)
    trial = make(data, "confirm", stage=spec, architecture=architecture, transfer="encoder", freeze="encoder")
    started, _, _ = run(trial, context, artifact.key)
    final, _ = load_weights(model_in_store(trial, context).folder / WEIGHTS_FILE)
    encoder = {name for name in weights if name.startswith("encoder.")}
    assert encoder == {name for name in final if name.startswith("encoder.")}
    assert all(torch.equal(final[name], weights[name]) for name in encoder)
    start = build_model(architecture, 2, trial.seed).network.state_dict()
    assert not any(torch.equal(final[name], start[name]) for name in start if name not in encoder)
    assert started.facts["source_hash"] == artifact.content_hash
    assert started.facts["transfer_report"].startswith(f"{len(encoder)} weights loaded")
    assert started.facts["trainable_parameters"] < started.facts["total_parameters"]


def test_unfrozen_transferred_model_starts_from_the_source(data, context, source, monkeypatch):
    """With transfer=all-but-classifier everything except the classifier starts as the source's; the head depends on the seed."""
    spec, artifact, weights = source()
    starts = []
    real = trials.train

    def spy(state, *args, **values):
        starts.append({name: tensor.clone() for name, tensor in state.model.network.state_dict().items()})
        return real(state, *args, **values)

    monkeypatch.setattr(trials, "train", spy)
    trial = make(data, stage=spec, transfer="all-but-classifier")
    run(trial, context, artifact.key)
    fresh = build_model("unet4", 2, trial.seed).network.state_dict()
    for name, tensor in starts[0].items():
        assert torch.equal(tensor, (fresh if name.startswith("classifier.") else weights)[name]), name


def test_source_that_does_not_fit_is_one_line(data, context, source):
    """A source of another architecture ends the trial with one line that names the missing weights."""
    spec, artifact, _ = source("unet-resnet18")
    with pytest.raises(UserError, match=r"transfer=encoder: the source lacks encoder\.blocks") as caught:
        run(make(data, stage=spec, transfer="encoder"), context, artifact.key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["data", "masks", "weights"])
def test_damage_in_the_inputs_of_a_trial_is_found(data, context, source, tmp_path, kind):
    """One flipped bit in the images, the original masks or the source's weights: no result, and a lost artifact."""
    spec, artifact, _ = source()
    request = DataSpec(Folder(tmp_path / "drawn", "drawn"), None, IMAGE_PX)
    prepare_originals(request, context.store, lambda *_: None)
    masks = originals_key(request, context.store, lambda *_: None)
    trial = replace(make(data, "confirm", stage=spec, epochs=1, test_size="original"), target_masks=masks)
    key, file = {"data": (data, "images.npy"), "masks": (masks, "masks.zip"), "weights": (artifact.key, WEIGHTS_FILE)}[kind]
    path = context.store.folder(kind, key) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LostArtifactError, match=f"{file} has other bytes than were written") as caught:
        run(trial, context, artifact.key)
    assert (caught.value.kind, caught.value.key) == (kind, key)
    assert context.store.find(kind, key) is None


def test_an_interrupted_trial_resumes(data, context, tmp_path):
    """A confirmed run interrupted after an epoch ends with the test numbers and weights of an uninterrupted one."""
    trial = make(data, "confirm", epochs=2)
    steps = run_trial(trial, None, context)
    _, first = (next(steps) for _ in range(2))
    steps.close()
    _, epochs, outcome = run(trial, context)
    assert epochs[0] == first
    assert len(epochs) == 2
    elsewhere = ExecutionContext(FolderStore(tmp_path / "other"), context.device)
    (elsewhere.store.root / "data").symlink_to(context.store.root / "data")
    _, _, whole = run(trial, elsewhere)
    assert outcome.tables == whole.tables
    times = "predict_seconds"
    assert {k: v for k, v in outcome.facts.items() if k != times} == {k: v for k, v in whole.facts.items() if k != times}
    hashes = {model_in_store(trial, there).content_hash for there in (context, elsewhere)}
    assert len(hashes) == 1


def test_a_trial_resumes_from_checkpoints_in_the_store(data, context):
    """On a machine with nothing but the store, a confirmed run continues after its last epoch, with the frames of its clip."""
    trial = make(data, "confirm", clip_images=2)
    there = replace(context, store=CopyingStore(context.store.root))
    steps = run_trial(trial, None, there)
    _, first = (next(steps) for _ in range(2))
    steps.close()
    _, epochs, _ = run(trial, there)
    assert epochs[0] == first  # including the measured seconds
    with np.load(model_in_store(trial, there).folder / "clip.npz") as clip:
        assert len(clip["frames_TKHW"]) == 3


def spoil_checkpoint(context: ExecutionContext) -> None:
    """Flip one bit in the middle of the only checkpoint."""
    (path,) = (context.store.root / "work").glob("*/last.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_trial_with_a_damaged_checkpoint_restarts_and_reports_it(data, context):
    """A trial whose checkpoint has one flipped bit ends as an uninterrupted one, and its record has the reason."""
    trial = make(data)
    _, whole, _ = run(trial, context)
    steps = run_trial(trial, None, context)
    _, first = (next(steps) for _ in range(2))
    steps.close()
    spoil_checkpoint(context)
    started, *epochs, _ = run_trial(trial, None, context)
    assert started.facts["note"] == "started from scratch: checkpoint last.safetensors has other bytes than were written"
    assert epochs[0].seconds != first.seconds
    assert [(each.train_loss, each.val_loss) for each in epochs] == [(each.train_loss, each.val_loss) for each in whole]


def test_confirmed_run_that_was_lost_after_its_test_ends_again(data, context):
    """A confirmed run whose end was not recorded yields the same outcome again and keeps its artifact."""
    trial = make(data, "confirm")
    _, _, first = run(trial, context)
    artifact = model_in_store(trial, context)
    _, _, again = run(trial, context)
    assert again.tables == first.tables
    assert model_in_store(trial, context) == artifact


def test_fractions_are_nested_and_seeds_differ(data, context, monkeypatch):
    """A larger fraction contains the smaller one of the same seed; another seed draws another subset."""
    seen = {}
    real = trials.train

    def spy(state, train_set, val_set, *args, **values):
        seen[values["seed"], len(train_set)] = (set(train_set.members.tolist()), val_set.members.tolist())
        return real(state, train_set, val_set, *args, **values)

    monkeypatch.setattr(trials, "train", spy)
    for seed, fraction in ((1, 0.25), (1, 0.5), (2, 0.25)):
        run(make(data, seed=seed, fraction=fraction, epochs=1), context)
    assert set(seen) == {(1, 6), (1, 12), (2, 6)}
    assert seen[1, 6][0] < seen[1, 12][0]
    assert seen[1, 6][0] != seen[2, 6][0]
    assert len({tuple(val) for _, val in seen.values()}) == 1


def test_rehearsal_limits_every_split(data, context):
    """With `max_images` no split has more images, and every code path still runs."""
    started, epochs, outcome = run(make(data, "confirm", epochs=1), replace(context, max_images=4))
    assert (started.facts["train_images"], started.facts["val_images"], outcome.facts["test_images"]) == (4, 4, 4)
    assert len(epochs) == 1
    assert len(outcome.tables["images"]) == 4


def test_examples_are_spread_over_the_split(data, context):
    """The example images are evenly spaced in the split; moving them to the front loses or doubles no image."""
    images = ImageSet(opened(data, context), np.arange(3, 20))
    members = spread_first(images, EXAMPLES).members
    assert members[:EXAMPLES].tolist() == [3, 6, 9, 12, 15, 19]
    assert sorted(members) == list(range(3, 20))


def test_everything_is_transferred_with_the_classes_mapped(data, context):
    """With `all` the classifier's rows move to their mapped classes, as the report states; other rows stay random."""
    classes = ["thing", "sky", "lake"]
    source = build_model("unet4", 3, seed=9).network.state_dict()
    with context.store.building(WEIGHTS, "source") as build:
        save_weights(source, build.folder / WEIGHTS_FILE)
        build.commit({"encoder_only": False, "classes": classes, "normalisation": IMAGENET.as_dict(), "facts": {}})
    stage = StageSpec(Stage.parse("supervised:coco"), "unet4", 0, data="x")
    trial = replace(
        make(data, stage=stage, transfer="all", learning_rate=1e-12, epochs=1),
        target=replace(TARGET, class_map={"ground": ["sky", "lake"]}),
    )
    started, _, outcome = run(trial, context, "source")
    assert isinstance(outcome, Finished)
    checkpoint = context.store.checkpoints(trial.trial_id).open() / "last.safetensors"
    rows = load_weights(checkpoint)[0]["model.classifier.weight"]
    expected = torch.stack([source["classifier.weight"][1:].mean(dim=0), source["classifier.weight"][0]])
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=0)
    assert "ground <- " in started.facts["transfer_report"]


def test_a_held_out_test_split_is_the_same_for_every_development_share(data, context):
    """Under `holdout-20` runs with different `dev_share` train on their share, and validate and test on the same images."""
    tested, trained = [], []
    for dev_share in (0.3, 0.8):
        trial = replace(make(data, "confirm", epochs=1, dev_share=dev_share), target=replace(TARGET, protocol="holdout-20"))
        started, _, outcome = run(trial, context)
        tested.append({row["image"] for row in outcome.tables["images"]})
        trained.append((started.facts["train_images"], started.facts["val_images"]))
    assert tested[0] == tested[1]
    assert trained == [(11, 3), (29, 3)]


def test_confirmed_run_keeps_a_clip(data, context):
    """With `clip_images` a confirmed run's artifact has predictions over time for images spread over the validation split.

    A tuning trial's checkpoints have none; an interrupted run ends with the same clip as an uninterrupted one.
    """
    trial = make(data, "confirm", clip_images=3, epochs=None, steps=4, validations=4)
    steps = run_trial(trial, None, context)
    for _ in range(3):
        next(steps)
    steps.close()
    run(trial, context)
    with np.load(model_in_store(trial, context).folder / "clip.npz") as clip:
        assert clip["frames_TKHW"].shape == (5, 3, IMAGE_PX, IMAGE_PX)
        assert clip["steps_T"].tolist() == [0, 1, 2, 3, 4]
        val = split_target(opened(data, context), TARGET.protocol).val
        assert np.array_equal(clip["truths_KHW"], opened(data, context).masks[val[[0, 3, 7]]])
    hashes = [model_in_store(trial, context).content_hash]
    context.store.remove(MODEL, model_in_store(trial, context).key)
    context.store.checkpoints(trial.trial_id).clear()
    run(trial, context)
    assert model_in_store(trial, context).content_hash == hashes[0]
    run(tuning := make(data, clip_images=3), context)
    assert not list(context.store.checkpoints(tuning.trial_id).open().glob("frame-*"))


def test_a_frozen_random_encoder_is_calibrated_once(data, context):
    """A frozen encoder without a source keeps its random weights and the statistics of the training images, as recorded."""
    trial = make(data, "confirm", architecture="unet-mobilenet_v2", freeze="encoder", epochs=1)
    started, _, _ = run(trial, context)
    final, _ = load_weights(model_in_store(trial, context).folder / WEIGHTS_FILE)
    random = build_model("unet-mobilenet_v2", 2, trial.seed).network.state_dict()
    means = [name for name in final if name.startswith("encoder.") and name.endswith("running_mean")]
    assert started.facts["calibrated_layers"] == len(means) > 50
    assert all(final[name].any() for name in means)
    weights = [name for name in final if name.startswith("encoder.") and name.endswith((".weight", ".bias"))]
    assert all(torch.equal(final[name], random[name]) for name in weights)
    batches = {int(final[name.replace("running_mean", "num_batches_tracked")]) for name in means}
    assert batches == {1}  # one pass before training; training changes none


def test_a_frozen_encoder_without_a_stem_trains_one(data, context):
    """With a source that has the small stem, `freeze=encoder` trains a random stem, and nothing else of the encoder."""
    settings = stage_settings(Settings.build(ssl_epochs=1, batch_size=4, image_px=IMAGE_PX, precision="float32"), Stage("simclr"))
    spec = StageSpec(Stage("simclr", "drawn", limit=8), "resnet18", 0, data, {**settings, "stem": "small"})
    *_, source = build_stage(spec, None, context)
    narrow = {"architecture": "unet-resnet18", "freeze": "encoder", "epochs": 1, "fraction": 0.5}
    trial = make(data, "confirm", stage=spec, source="simclr:drawn@8", **narrow)
    started, _, _ = run(trial, context, source.artifact.key)
    final, given = (
        load_weights(folder / WEIGHTS_FILE)[0] for folder in (model_in_store(trial, context).folder, source.artifact.folder)
    )
    assert all(torch.equal(final[f"encoder.{name}"], value) for name, value in given.items())
    begun = build_model("unet-resnet18", 2, trial.seed).network
    stem = {name: tensor for name, tensor in begun.state_dict().items() if name.startswith(("encoder.conv1.", "encoder.bn1."))}
    assert not any(torch.equal(final[name], tensor) for name, tensor in stem.items())
    outside = sum(p.numel() for name, p in begun.named_parameters() if not name.startswith("encoder."))
    assert started.facts["trainable_parameters"] == outside + 64 * 3 * 49 + 2 * 64
    assert started.facts["calibrated_layers"] == 0
    assert "not transferred, since the source has another stem: encoder.conv1.weight" in started.facts["transfer_report"]


@pytest.fixture
def sized(tmp_path, context):
    """Images of several sizes with their masks: the keys of their squares and of their original masks."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "sized"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "classes.txt").write_text("ground\nthing\n")
    for number in range(20):
        height, width = (int(side) for side in rng.integers(40, 90, 2))
        mask = np.zeros((height, width), np.uint8)
        mask[5 : height // 2, 7 : width // 2] = 1
        mask[:2] = 255
        image = (rng.integers(0, 90, (height, width, 3)) + 120 * (mask == 1)[..., None]).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    request = DataSpec(Folder(folder, "sized"), None, IMAGE_PX)
    prepare(request, context.store, lambda *_: None)
    prepare_originals(request, context.store, lambda *_: None)
    keys = prepared_key(request, context.store, lambda *_: None), originals_key(request, context.store, lambda *_: None)
    return folder, *keys


def test_a_test_at_the_original_size_counts_there(sized, context):
    """With `test_size=original` logits are resized to each mask's size, and counts and predictions have that size."""
    folder, data, masks = sized
    trial = replace(make(data, "confirm", test_size="original", epochs=1), target_masks=masks)
    _, _, outcome = run(trial, context)
    prepared = opened(data, context)
    model = build_model("unet4", 2, seed=0)
    artifact = model_in_store(trial, context)
    model.network.load_state_dict(load_weights(artifact.folder / WEIGHTS_FILE)[0])
    kept, counts = dict(read_predictions(artifact.folder / "predictions.zip")), outcome.tables["counts"]
    for name in kept:
        member = prepared.names.index(name)
        truth = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
        with torch.no_grad():
            images = torch.from_numpy(prepared.images[[member]]).permute(0, 3, 1, 2)
            logits = model.eval()(normalise(images))
        expected = torch.nn.functional.interpolate(logits, size=truth.shape, mode="bilinear").argmax(1)[0].numpy()
        assert kept[name].shape == truth.shape
        assert (kept[name] == expected).mean() > 0.999
        counted = truth != 255
        rows = {row["class"]: row for row in counts if row["image"] == name}
        assert sum(row["true"] for row in rows.values()) == counted.sum()
        assert rows["thing"]["true"] == (truth == 1).sum()
        assert rows["thing"]["hit"] == ((kept[name] == 1) & (truth == 1)).sum()
    hit, true, predicted = (sum(row[what] for row in counts if row["class"] == "thing") for what in ("hit", "true", "predicted"))
    assert outcome.facts["test_iou"] == pytest.approx(hit / (true + predicted - hit))
    assert trial.trial_id != replace(trial, settings=make(data, "confirm", epochs=1).settings).trial_id


def test_a_test_at_the_image_size_is_the_default(sized, context):
    """Without the setting counts are of squares of `image_px`, whatever the original sizes of the masks."""
    _, data, masks = sized
    _, _, outcome = run(replace(make(data, "confirm", epochs=1), target_masks=masks), context)
    for name in {row["image"] for row in outcome.tables["counts"]}:
        pixels = sum(row["true"] for row in outcome.tables["counts"] if row["image"] == name)
        assert 0.9 * IMAGE_PX**2 < pixels <= IMAGE_PX**2


STATED = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize("setting", ["source", "imagenet", "own"])
@pytest.mark.parametrize("begins", ["random", "file"])
def test_a_trial_uses_its_sources_normalisation(data, context, tmp_path, monkeypatch, begins, setting):
    """Training, validation, test, record and card have the source's normalisation, or the one that the setting names."""
    spec, key = None, None
    if begins == "file":
        save_weights(build_model("unet4", 7, seed=9).network.state_dict(), tmp_path / "w.safetensors")
        spec = StageSpec(Stage("file", str(tmp_path / "w.safetensors"), normalisation=STATED), "unet4", 0, data="hash")
        *_, built = build_stage(spec, None, context)
        key = built.artifact.key
    used = []
    monkeypatch.setattr(batches, "normalise", lambda images, given: used.append(given) or normalise(images, given))
    trial = make(data, "confirm", stage=spec, normalisation=setting)
    started, _, _ = run(trial, context, key)
    prepared = opened(data, context)
    expected = {
        "source": STATED if begins == "file" else IMAGENET,
        "imagenet": IMAGENET,
        "own": Normalisation(*prepared.mean_std(split_target(prepared, TARGET.protocol).train)),
    }[setting]
    assert set(used) == {expected}
    assert started.facts["input_normalisation"] == str(expected)
    assert Normalisation.of(model_in_store(trial, context).metadata) == expected


def test_with_random_weights_source_and_imagenet_normalisation_are_equal(data):
    """For random weights `source` and `imagenet` are the same work; for other weights, and for `own`, they are not."""
    stage = StageSpec(Stage("file", "w"), "unet4", 0, data="hash")
    ids = {(s, n): make(data, stage=s, normalisation=n).trial_id for s in (None, stage) for n in ("source", "imagenet", "own")}
    assert ids[None, "source"] == ids[None, "imagenet"]
    assert len(set(ids.values())) == 5


def test_a_trial_of_one_logit_starts_from_a_source_of_many_classes(data, context, source):
    """With output=sigmoid everything except the classifier of a softmax source is transferred; the head has one random channel.

    The test's numbers follow from the sign of the logit, and the weights transfer back into a model of many classes.
    """
    spec, artifact, weights = source(classes=7)
    values = {"transfer": "all-but-classifier", "output": "sigmoid", "loss": "bce", "freeze": "encoder", "epochs": 1}
    trial = make(data, "confirm", stage=spec, **values)
    started, _, outcome = run(trial, context, artifact.key)
    final, _ = load_weights(model_in_store(trial, context).folder / WEIGHTS_FILE)
    assert final["classifier.weight"].shape[0] == 1
    assert all(torch.equal(final[name], weights[name]) for name in final if name.startswith("encoder."))
    assert started.facts["trainable_parameters"] == sum(
        p.numel() for name, p in build_model("unet4", 1, 0).network.named_parameters() if not name.startswith("encoder.")
    )
    prepared = opened(data, context)
    members = split_target(prepared, TARGET.protocol).test
    network = build_model("unet4", 1, 0).network.eval()
    network.load_state_dict(final)
    with torch.no_grad():
        images = torch.from_numpy(prepared.images[members].copy()).permute(0, 3, 1, 2)
        logit = network(normalise(images, IMAGENET))[:, 0]
    truth = prepared.masks[members].ravel()
    assert outcome.facts["test_iou"] == pytest.approx(jaccard_score(truth, (logit > 0).numpy().ravel()), abs=1e-3)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(prepared.masks[members]).float())
    assert outcome.facts["test_bce"] == pytest.approx(float(expected), rel=1e-3)
    back = build_model("unet4", 7, seed=5)
    report = transfer_weights(back, final, "all-but-classifier")
    assert report.kept == ("classifier.weight", "classifier.bias")
    assert torch.equal(back.network.state_dict()["decoder.up.0.weight"], final["decoder.up.0.weight"])
