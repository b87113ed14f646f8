import math

import numpy as np
import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, JaccardLoss
from sklearn.metrics import log_loss
from torch.nn import functional

from segsweep.config import Loss
from segsweep.config.loss_text import LOSS_NAMES
from segsweep.config.user_objects import register
from segsweep.data.dataset import IGNORE
from segsweep.errors import UserError
from segsweep.training.losses import (
    bce,
    check_loss,
    cross_entropy,
    dice,
    focal,
    jaccard,
    lovasz,
    make_objective,
    median_frequency_weights,
)
from segsweep.training.world import World

CLASSES = ("background", "cat", "dog", "fox", "owl", "cow", "ant")
FREQUENCIES = np.array([0.7, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02])
BINARY = [name for name in LOSS_NAMES if name != "cross_entropy_foreground"]  # which needs three classes


def objective(name: str, classes: int = 3):
    return make_objective(name, CLASSES[:classes], FREQUENCIES[:classes])


def example(classes: int, ignored: float, seed: int = 0):
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, classes, 6, 5, generator=chance)
    masks = torch.randint(0, classes, (3, 6, 5), generator=chance)
    masks[torch.rand(3, 6, 5, generator=chance) < ignored] = IGNORE
    return logits, masks


def probabilities(logits: torch.Tensor) -> np.ndarray:
    powers = np.exp(logits.double().numpy() - logits.double().numpy().max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_cross_entropy_is_the_mean_over_valid_pixels(classes, ignored):
    """Cross-entropy is minus the mean log probability of the true class, over the pixels that are not ignored."""
    logits, masks = example(classes, ignored)
    chances, truth = probabilities(logits), masks.numpy()
    places = np.argwhere(truth != IGNORE)
    expected = -np.mean([np.log(chances[b, truth[b, y, x], y, x]) for b, y, x in places])
    assert float(cross_entropy(logits, masks)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_dice_follows_the_formula(classes, ignored):
    """Dice is one minus 2|PT|/(|P|+|T|) over the batch: of class 1 with two classes, otherwise the mean over classes."""
    logits, masks = example(classes, ignored)
    chances, truth = probabilities(logits), masks.numpy()
    counted = truth != IGNORE
    each = []
    for label in range(classes):
        predicted, true = chances[:, label][counted], (truth == label)[counted]
        each.append(1 - 2 * predicted[true].sum() / (predicted.sum() + true.sum()))
    expected = each[1] if classes == 2 else np.mean(each)
    assert float(dice(logits, masks)) == pytest.approx(expected, rel=1e-5)


def test_dice_of_absent_classes_is_zero():
    """A class that the batch does not show adds 0 to the mean over three classes, and gives 0 with two."""
    logits, masks = example(3, 0.0)
    masks[masks == 2] = 0
    chances, truth = probabilities(logits), masks.numpy()
    parts = [2 * chances[:, c][truth == c].sum() / (chances[:, c].sum() + (truth == c).sum()) for c in (0, 1)]
    assert float(dice(logits, masks)) == pytest.approx((1 - parts[0] + 1 - parts[1]) / 3, rel=1e-5)
    assert float(dice(logits[:, :2], torch.zeros_like(masks))) == 0


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_jaccard_follows_the_formula(classes, ignored):
    """Jaccard is one minus |PT|/(|P|+|T|-|PT|) over the batch, with the classes of Dice."""
    logits, masks = example(classes, ignored)
    chances, truth = probabilities(logits), masks.numpy()
    counted = truth != IGNORE
    each = []
    for label in range(classes):
        predicted, true = chances[:, label][counted], (truth == label)[counted]
        hit = predicted[true].sum()
        each.append(1 - hit / (predicted.sum() + true.sum() - hit))
    assert float(jaccard(logits, masks)) == pytest.approx(each[1] if classes == 2 else np.mean(each), rel=1e-5)


@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_bce_is_scikit_learns_log_loss(ignored):
    """With two classes, BCE is the foreground's log loss; with more, the mean over the classes, each against the rest."""
    logits, masks = example(2, ignored)
    counted = masks.numpy() != IGNORE
    expected = log_loss(masks.numpy()[counted], probabilities(logits)[:, 1][counted], labels=[0, 1])
    assert float(bce(logits, masks)) == pytest.approx(expected, rel=1e-5)
    logits, masks = example(4, ignored)
    counted = masks.numpy() != IGNORE
    sigmoid = 1 / (1 + np.exp(-logits.double().numpy()))
    each = [log_loss(masks.numpy()[counted] == label, sigmoid[:, label][counted], labels=[0, 1]) for label in range(4)]
    assert float(bce(logits, masks)) == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_focal_follows_the_paper(ignored):
    """Focal is the mean of -(1-p)^2 log p, where p is the foreground's probability of the truth (Lin et al. 2017, formula 4)."""
    logits, masks = example(2, ignored)
    chances, truth = probabilities(logits), masks.numpy()
    p = np.array([chances[b, truth[b, y, x], y, x] for b, y, x in np.argwhere(truth != IGNORE)])
    assert float(focal(logits, masks)) == pytest.approx(np.mean(-((1 - p) ** 2) * np.log(p)), rel=1e-5)


def test_lovasz_is_the_loss_in_iou_for_certain_predictions():
    """For predictions with probability 1, Lovasz-Softmax is the mean over the present classes of one minus their IoU."""
    _, masks = example(3, 0.2)
    guess = torch.randint(0, 3, masks.shape, generator=torch.Generator().manual_seed(1))
    logits = 1000 * torch.nn.functional.one_hot(guess, 3).permute(0, 3, 1, 2).float()
    counted = masks != IGNORE
    each = []
    for label in range(3):
        found, true = guess[counted] == label, masks[counted] == label
        each.append(1 - (found & true).sum().item() / (found | true).sum().item())
    assert float(lovasz(logits, masks)) == pytest.approx(np.mean(each), abs=1e-5)


def test_weighted_cross_entropy_is_torchs():
    """Class weights are used as in torch's weighted mean, and are the median frequency divided by the class's frequency."""
    logits, masks = example(3, 0.3)
    weights = median_frequency_weights(FREQUENCIES[:3])
    assert weights == pytest.approx((2 / 7, 1.0, 2.0))
    expected = torch.nn.functional.cross_entropy(logits, masks, torch.tensor(weights), ignore_index=IGNORE)
    assert float(objective("weighted_cross_entropy")(logits, masks)) == pytest.approx(float(expected), rel=1e-5)
    assert median_frequency_weights(np.array([0, 4, 4])) == (0.0, 1.0, 1.0)
    assert median_frequency_weights(np.zeros(2)) == (0.0, 0.0)


def test_foreground_cross_entropy_leaves_the_background_out():
    """The loss is the cross-entropy over the pixels outside the background; it needs a background class."""
    logits, masks = example(3, 0.2)
    expected = cross_entropy(logits, masks.masked_fill(masks == 0, IGNORE))
    assert float(objective("cross_entropy_foreground")(logits, masks)) == float(expected)
    for classes in (("pet", "border", "rest"), ("background", "pet")):
        with pytest.raises(UserError, match="cross_entropy_foreground: needs a class 'background' and two others"):
            check_loss("cross_entropy_foreground", classes)


def test_a_sum_adds_its_terms():
    """The objective of a sum is the weighted sum of the losses."""
    logits, masks = example(3, 0.2)
    whole = objective("0.5*cross_entropy+2*dice")(logits, masks)
    assert float(whole) == pytest.approx(0.5 * float(cross_entropy(logits, masks)) + 2 * float(dice(logits, masks)), rel=1e-6)


def test_a_users_loss_is_called_directly():
    """A loss of the study file is called with logits and masks; an undeclared one raises `UserError`."""
    register({"own:twice": Loss("twice", lambda logits, mask: 2 * cross_entropy(logits, mask))})
    logits, masks = example(3, 0.2)
    assert float(objective("own:twice+dice")(logits, masks)) == pytest.approx(
        2 * float(cross_entropy(logits, masks)) + float(dice(logits, masks)), rel=1e-6
    )
    with pytest.raises(UserError, match="unknown name 'own:thrice'"):
        check_loss("own:thrice", CLASSES)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logits, mask: logits.mean(dim=1) * mask, "must return a finite scalar|grad can be implicitly created"),
        (lambda logits, mask: logits.detach().sum() + mask.sum(), "does not require grad"),
        (lambda logits, mask: logits.sum() / (mask.sum() * 0), "finite scalar"),
        (lambda logits: logits.sum(), "fails for 1 images of 3 classes: TypeError"),
    ],
)
def test_a_broken_users_loss_is_refused_before_training(function, message):
    """A user's loss is tried on small batches: if it fails or returns no finite scalar with a gradient, the error is one line."""
    register({"own:odd": Loss("odd", function)})
    with pytest.raises(UserError, match=message) as caught:
        check_loss("dice+own:odd", CLASSES[:3])
    assert str(caught.value).startswith("loss 'own:odd'")


@pytest.mark.parametrize("name", [*LOSS_NAMES, "0.5*cross_entropy+dice"])
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_parts_of_a_batch_add_up(name, pieces):
    """For means over pixels, the losses and gradients of micro-batches add up to those of the batch.

    Losses of a batch as a whole are averaged over the micro-batches.
    """
    logits, masks = example(3, 0.4)
    loss, world = objective(name), World()
    together = logits.clone().requires_grad_()
    loss(together, masks).backward()
    apart, summed = logits.clone().requires_grad_(), 0.0
    for few, labels in zip(apart.tensor_split(pieces), masks.tensor_split(pieces), strict=True):
        backward, part = loss.part(few, labels, masks, len(masks), world)
        backward.backward()
        summed += float(part)
    if pieces == 1 or not any(whole in name for whole in ("dice", "jaccard", "lovasz")):
        assert summed == pytest.approx(float(loss(logits, masks)), rel=1e-5)
        torch.testing.assert_close(apart.grad, together.grad)
    else:
        batchwise = [term for term in loss.terms if term.size is None]
        shares = zip(logits.tensor_split(pieces), masks.tensor_split(pieces), strict=True)
        mean = sum(len(m) / 3 * term.weight * float(term.function(x, m)) for x, m in shares for term in batchwise)
        rest = sum(term.weight * float(term.function(logits, masks)) for term in loss.terms if term.size is not None)
        assert summed == pytest.approx(mean + rest, rel=1e-5)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("classes", [2, 3])
def test_all_ignored_gives_zero_and_a_finite_gradient(name, classes):
    """If every pixel is ignored, a loss is 0 and its gradient is finite and 0."""
    logits, masks = example(classes, 0.0)
    logits.requires_grad_()
    loss = objective(name, classes)(logits, torch.full_like(masks, IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("classes", [2, 3])
def test_ignored_pixels_get_no_gradient(name, classes):
    """Logits of ignored pixels have no gradient; those of valid pixels do."""
    logits, masks = example(classes, 0.5)
    logits.requires_grad_()
    objective(name, classes)(logits, masks).backward()
    ignored = masks.eq(IGNORE).unsqueeze(1).expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].abs().sum() > 0


@pytest.mark.parametrize("name", BINARY)
def test_better_logits_lose_less(name):
    """Confident correct logits have almost no loss, confident wrong ones almost the largest."""
    _, masks = example(2, 0.3)
    truth = torch.nn.functional.one_hot(masks.where(masks != IGNORE, 0), 2).permute(0, 3, 1, 2).float()
    assert float(objective(name, 2)(20 * truth, masks)) < 1e-3
    assert float(objective(name, 2)(-20 * truth, masks)) > 0.99


FILLED = {"everything": (-8.0, 8.0), "nothing": (8.0, -8.0)}


@pytest.mark.parametrize("name", ["dice", "jaccard", "2*dice"])
def test_measures_count_predictions_of_absent_classes(name):
    """As a measure, an image without foreground has a loss close to 1 if it is predicted as foreground, and 0 if it is not."""
    masks = torch.zeros(1, 8, 8, dtype=torch.long)
    measured = objective(name, 2).measured
    logits = {what: torch.tensor(values).view(1, 2, 1, 1).expand(1, 2, 8, 8) for what, values in FILLED.items()}
    weight = 2 if name.startswith("2") else 1
    assert float(measured(logits["everything"], masks)) == pytest.approx(weight * 64 / 65, rel=1e-3)
    assert float(measured(logits["nothing"], masks)) == pytest.approx(0, abs=1e-4)
    assert float(objective(name, 2)(logits["everything"], masks)) == 0  # in training, as smp


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_the_measure_of_absent_classes_follows_the_formula(classes, ignored):
    """An absent class adds k / (1 + k), where k valid pixels are predicted as it; shown classes count as in training."""
    logits, masks = example(classes, ignored)
    masks[masks == classes - 1] = 0  # the last class is absent, the foreground of two
    counted = (masks != IGNORE).numpy()
    predicted = int(((probabilities(logits).argmax(axis=1) == classes - 1) & counted).sum())
    assert predicted
    share = 1 if classes == 2 else 1 / classes
    expected = float(dice(logits, masks)) + share * predicted / (1 + predicted)
    assert float(objective("dice", classes).measured(logits, masks)) == pytest.approx(expected, rel=1e-5)
    assert float(objective("cross_entropy", classes).measured(logits, masks)) == float(cross_entropy(logits, masks))


@pytest.mark.parametrize("name", ["dice", "jaccard"])
@pytest.mark.parametrize(("classes", "image_px"), [(2, 256), (21, 64)])
def test_a_right_prediction_measures_well_however_large_the_image(name, classes, image_px):
    """An image that lacks a class and is predicted correctly with probability 0.99 has a loss close to 0, at any size."""
    right = math.log(0.99 / (0.01 / (classes - 1)))
    logits = torch.zeros(1, classes, image_px, image_px)
    logits[:, 0] = right
    masks = torch.zeros(1, image_px, image_px, dtype=torch.long)
    assert float(objective(name, classes).measured(logits, masks)) < 0.02


@pytest.mark.parametrize("name", ["dice", "jaccard", "bce", "focal"])
def test_losses_are_the_foregrounds_at_either_number(name):
    """With the background as class 1, a loss equals that with the classes in their usual order."""
    logits, masks = example(2, 0.3)
    turned = torch.where(masks == IGNORE, IGNORE, 1 - masks)
    swapped = make_objective(name, ("lesion", "background"))
    for how in ("__call__", "measured"):
        found = getattr(swapped, how)(logits.flip(1), turned)
        assert float(found) == pytest.approx(float(getattr(objective(name, 2), how)(logits, masks)), rel=1e-6)


def torchs_bce(z, mask):
    counted = mask != IGNORE
    return functional.binary_cross_entropy_with_logits(z[counted], (mask == 1)[counted].float())


ONE_CHANNEL = {  # the loss of one logit a pixel, as its library has it
    "cross_entropy": torchs_bce,
    "bce": torchs_bce,
    "dice": lambda z, mask: DiceLoss("binary", ignore_index=IGNORE)(z, mask),
    "jaccard": lambda z, mask: JaccardLoss("binary", ignore_index=IGNORE)(z, mask),
    "focal": lambda z, mask: FocalLoss("binary", gamma=2.0, ignore_index=IGNORE)(z, mask),
}


@pytest.mark.parametrize("name", ONE_CHANNEL)
@pytest.mark.parametrize("ignored", [0.0, 0.4])
@pytest.mark.parametrize("foreground", [0, 1])
def test_one_logit_beside_zero_has_the_losses_of_one_channel(name, ignored, foreground):
    """With logits 0 and z, every loss and its gradient by z equal those of torch or smp for one channel z of the foreground."""
    logits, masks = example(2, ignored)
    ours, theirs = (logits[:, 1:].clone().requires_grad_() for _ in range(2))
    pair = [torch.zeros_like(ours), ours]
    whole = torch.cat(pair if foreground == 1 else pair[::-1], dim=1)
    loss = make_objective(name, CLASSES[:2], foreground=foreground)(whole, masks)
    swapped = masks if foreground == 1 else torch.where(masks == IGNORE, masks, 1 - masks)
    expected = ONE_CHANNEL[name](theirs[:, 0], swapped)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-8)
