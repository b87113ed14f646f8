import numpy as np
import pytest
import torch

from segsweep.data.dataset import IGNORE
from segsweep.training.losses import LOSSES, cross_entropy, dice


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
def test_cross_entropy_is_the_mean_over_counted_pixels(classes, ignored):
    """Cross-entropy is minus the mean log probability of the true class, over the pixels that are not ignored."""
    logits, masks = example(classes, ignored)
    chances, truth = probabilities(logits), masks.numpy()
    places = np.argwhere(truth != IGNORE)
    expected = -np.mean([np.log(chances[b, truth[b, y, x], y, x]) for b, y, x in places])
    assert float(cross_entropy(logits, masks)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_dice_follows_the_formula(classes, ignored):
    """Dice is one minus 2|PT|/(|P|+|T|) over the batch: of class 1 where there are two, else the mean over classes."""
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
    """A class that the batch does not hold adds 0 to the mean over three classes, and 0 alone with two."""
    logits, masks = example(3, 0.0)
    masks[masks == 2] = 0
    chances, truth = probabilities(logits), masks.numpy()
    parts = [2 * chances[:, c][truth == c].sum() / (chances[:, c].sum() + (truth == c).sum()) for c in (0, 1)]
    assert float(dice(logits, masks)) == pytest.approx((1 - parts[0] + 1 - parts[1]) / 3, rel=1e-5)
    assert float(dice(logits[:, :2], torch.zeros_like(masks))) == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_all_ignored_gives_zero_and_a_finite_gradient(name, classes):
    """Where every pixel is ignored a loss is 0 and its gradient finite and 0."""
    logits, masks = example(classes, 0.0)
    logits.requires_grad_()
    loss = LOSSES[name](logits, torch.full_like(masks, IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_ignored_pixels_get_no_gradient(name, classes):
    """No logit of an ignored pixel has a gradient, while counted pixels have one."""
    logits, masks = example(classes, 0.5)
    logits.requires_grad_()
    LOSSES[name](logits, masks).backward()
    ignored = masks.eq(IGNORE).unsqueeze(1).expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_better_logits_lose_less(name):
    """Logits that point to the truth lose almost nothing, those that point away almost all there is to lose."""
    _, masks = example(2, 0.3)
    truth = torch.nn.functional.one_hot(masks.where(masks != IGNORE, 0), 2).permute(0, 3, 1, 2).float()
    assert float(LOSSES[name](20 * truth, masks)) < 1e-3
    assert float(LOSSES[name](-20 * truth, masks)) > 0.99
