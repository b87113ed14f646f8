from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from segsweep.data.dataset import IGNORE
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.training.evaluate import confusion, evaluate
from segsweep.training.losses import make_objective

LOSSES = ("cross_entropy", "dice", "focal", "lovasz", "cross_entropy+dice")


@pytest.mark.parametrize("classes", [2, 3, 255])
def test_confusion_equals_scikit_learns(classes):
    """The matrix of each image is scikit-learn's over the pixels that are not ignored, in int64."""
    chance = torch.Generator().manual_seed(0)
    masks = torch.randint(0, classes, (4, 9, 7), generator=chance)
    predicted = torch.randint(0, classes, (4, 9, 7), generator=chance)
    masks[torch.rand(4, 9, 7, generator=chance) < 0.3] = IGNORE
    masks[3] = IGNORE
    found = confusion(masks, predicted, classes)
    assert found.dtype == torch.int64
    for position in range(3):
        counted = masks[position] != IGNORE
        expected = confusion_matrix(masks[position][counted], predicted[position][counted], labels=range(classes))
        assert np.array_equal(found[position].numpy(), expected)
    assert not found[3].any()


def options(cpu, loss="cross_entropy", **values):
    return {"loss": make_objective(loss, ("one", "other")), "batch_size": 4, "precision": "float32", "device": cpu, **values}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_batch_size_does_not_matter(cpu, image_set, loss, classes):
    """Loss, counts and examples are equal for every batch size, also if images are ignored in unequal parts."""
    model, shown = build_model("unet4", classes, seed=0), image_set(7, 32, classes, ignored=True)
    results = [evaluate(model, shown, **options(cpu, loss=loss, batch_size=size), examples=3) for size in (1, 2, 3, 7, 50)]
    for result in results[1:]:
        assert result.loss == pytest.approx(results[0].loss, rel=1e-5)
        assert np.array_equal(result.confusion_CC, results[0].confusion_CC)
        assert np.array_equal(result.counts_N3C, results[0].counts_N3C)
        assert np.array_equal(result.examples, results[0].examples)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_the_mean_over_images(cpu, image_set, loss):
    """The loss is the mean of the losses of the single images."""
    model, shown = build_model("unet4", 2, seed=0), image_set(5, ignored=True)
    alone = [
        evaluate(model, replace(shown, members=shown.members[[position]]), **options(cpu, loss=loss)).loss
        for position in range(5)
    ]
    assert evaluate(model, shown, **options(cpu, loss=loss)).loss == pytest.approx(np.mean(alone), rel=1e-5)
    assert max(alone) - min(alone) > 1e-3


@pytest.mark.parametrize("loss", ["cross_entropy", "dice"])
def test_a_fully_ignored_image_has_no_loss(cpu, image_set, loss):
    """The mean loss is over the other images, like the mean Dice."""
    model, shown = build_model("unet4", 2, seed=0), image_set(5)
    wanted = evaluate(model, replace(shown, members=shown.members[:4]), **options(cpu, loss=loss))
    shown.data.masks[shown.members[4]] = IGNORE
    found = evaluate(model, shown, **options(cpu, loss=loss))
    assert (found.loss, found.dice) == pytest.approx((wanted.loss, wanted.dice), rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_state_are_restored(cpu, image_set, training):
    """Evaluation changes no weight and no statistic and restores the mode; a frozen part stays in eval mode."""
    model = build_model("unet-mobilenet_v2", 2, seed=0)
    freeze(model, "encoder")
    model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, image_set(3, 32), **options(cpu))
    assert model.training is model.network.decoder.training is training
    assert not model.encoder.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_dropout_is_off(cpu, image_set):
    """Two evaluations of a model with dropout, which is in training, are equal."""
    model, shown = build_model("deeplabv3plus-resnet18", 2, seed=0).train(), image_set(3, 32)
    assert any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    assert evaluate(model, shown, **options(cpu)).loss == evaluate(model, shown, **options(cpu)).loss


def test_counts_cover_every_counted_pixel(cpu, image_set):
    """The matrix of the split is the sum over images, and its rows count the true pixels of each class."""
    shown = image_set(5, classes=3, ignored=True)
    result = evaluate(build_model("unet4", 3, seed=0), shown, **options(cpu))
    assert result.counts_N3C.shape == (5, 3, 3)
    assert result.counts_N3C.dtype == result.confusion_CC.dtype == np.int64
    hit, true, predicted = result.counts_N3C.sum(axis=0)
    assert np.array_equal(hit, np.diag(result.confusion_CC))
    assert np.array_equal(true, result.confusion_CC.sum(axis=1))
    assert np.array_equal(predicted, result.confusion_CC.sum(axis=0))
    assert result.confusion_CC.sum(axis=1).tolist() == [int((shown.data.masks == label).sum()) for label in range(3)]
    assert result.predict_seconds > 0


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9])
def test_examples_are_the_predictions_of_the_first_images(cpu, image_set, count):
    """The requested number of predictions is returned, as uint8 (H, W) in order, at most one per image."""
    model, shown = build_model("unet4", 2, seed=0), image_set(6)
    result = evaluate(model, shown, **options(cpu, batch_size=4), examples=count)
    assert result.examples.shape == (min(count, 6), 16, 16)
    assert result.examples.dtype == np.uint8
    for predicted, truth, counted in zip(result.examples, shown.data.masks, result.counts_N3C, strict=False):
        hit, true, guessed = counted
        assert hit.tolist() == [int(((predicted == label) & (truth == label)).sum()) for label in (0, 1)]
        assert (true.sum(), guessed.tolist()) == (truth.size, [int((predicted == label).sum()) for label in (0, 1)])


def test_order_of_the_members_is_kept(cpu, image_set):
    """Row n of the matrices belongs to member n, whatever its number."""
    model, shown = build_model("unet4", 2, seed=0), image_set(6)
    straight = evaluate(model, shown, **options(cpu)).counts_N3C
    turned = evaluate(model, replace(shown, members=shown.members[::-1]), **options(cpu)).counts_N3C
    assert np.array_equal(turned[::-1], straight)
    assert not np.array_equal(turned, straight)


def test_bfloat16_is_close(cpu, image_set):
    """In bfloat16, loss and counts are close to those in float32, but not equal."""
    model, shown = build_model("unet4", 2, seed=0), image_set(6)
    exact, rounded = (evaluate(model, shown, **options(cpu, precision=p)) for p in ("float32", "bfloat16"))
    assert rounded.loss != exact.loss
    assert rounded.loss == pytest.approx(exact.loss, rel=0.02)
    assert np.abs(rounded.confusion_CC - exact.confusion_CC).sum() <= 0.05 * exact.confusion_CC.sum()


def test_several_measures_in_one_evaluation(cpu, image_set):
    """Each additional loss equals that of an evaluation with this loss only; boundary scores have one row per image, if
    requested.
    """
    model, shown = build_model("unet4", 2, seed=0), image_set(5, ignored=True)
    more = {name: make_objective(name, ("one", "other")) for name in ("dice", "focal")}
    result = evaluate(model, shown, **options(cpu), more_losses=more, boundary=True)
    for name in more:
        assert result.losses[name] == pytest.approx(evaluate(model, shown, **options(cpu, loss=name)).loss, rel=1e-6)
    assert result.boundary_NC.shape == (5, 2)
    assert ((result.boundary_NC >= 0) & (result.boundary_NC <= 1)).all()
    assert evaluate(model, shown, **options(cpu)).boundary_NC is None
