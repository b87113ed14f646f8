"""Losses, by name. Each is a function of logits (B, C, H, W) and masks (B, H, W) that returns a scalar.

Logits are floats, masks are int64 with class numbers 0..C-1 or `IGNORE` (255). Ignored pixels contribute neither loss nor
gradient.

With two classes, `bce`, `focal`, `dice` and `jaccard` score the foreground only; with more, they average over the classes.

In training, Dice and Jaccard are those of segmentation_models_pytorch (smp). A class that no mask of the batch shows then has a
loss of 0, whatever the model predicts. As validation measures, which decide which weights are kept, Dice and Jaccard penalise
predictions of such a class: see `Objective.measured`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, JaccardLoss, LovaszLoss
from torch import Tensor
from torch.nn import functional

from segsweep.config.class_name import BACKGROUND, foreground_number, is_background
from segsweep.config.loss_text import parse_loss
from segsweep.config.user_objects import user_object
from segsweep.config.user_text import PREFIX
from segsweep.data.dataset import IGNORE
from segsweep.data.prepared import Frequencies
from segsweep.errors import UserError
from segsweep.training.world import World

Loss = Callable[[Tensor, Tensor], Tensor]
TINY = 1e-9  # avoids 0/0 in a mean over no pixels


def cross_entropy(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy over the valid pixels; 0 if all pixels are ignored.

    The background is a class like any other.

    Args:
        logits_BCHW: (B, C, H, W), float, one channel per class.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.

    Returns:
        A scalar with the dtype of the logits, at least 0.
    """
    total = functional.cross_entropy(logits_BCHW, mask_BHW, ignore_index=IGNORE, reduction="sum")
    return total / valid_pixels(mask_BHW).clamp(min=1)


def bce(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over the valid pixels; 0 if all pixels are ignored.

    With two classes, the binary logit is the foreground's minus the background's, so the loss equals `cross_entropy`. With more
    classes, it is the mean over C decisions of one class against the rest.

    Args:
        logits_BCHW: (B, C, H, W), float, one channel per class.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.

    Returns:
        A scalar with the dtype of the logits, at least 0.
    """
    valid = mask_BHW != IGNORE
    logits, truth = _one_against_rest(logits_BCHW, mask_BHW)
    loss_BHW = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
    return (loss_BHW * valid).sum() / valid.sum().clamp(min=1)


def _one_against_rest(logits_BCHW: Tensor, mask_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits and the 0/1 truth (B, K, H, W) of K binary decisions: K is 1 with two classes, C with more."""
    classes = logits_BCHW.shape[1]
    if classes == 2:
        return logits_BCHW[:, 1:] - logits_BCHW[:, :1], (mask_BHW == 1)[:, None].to(logits_BCHW.dtype)
    numbers = torch.arange(classes, device=mask_BHW.device).view(1, -1, 1, 1)
    return logits_BCHW, (mask_BHW[:, None] == numbers).to(logits_BCHW.dtype)


def focal(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the focal loss with gamma 2 and without alpha balancing; 0 if all pixels are ignored.

    Lin et al. 2017, arXiv:1708.02002, as `smp.losses.FocalLoss`. It is the mean over the valid pixels of a binary loss: of the
    foreground with two classes; of each class against the rest, averaged over the C classes, with more.

    Args:
        logits_BCHW: (B, C, H, W), float, one channel per class.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.

    Returns:
        A scalar with the dtype of the logits, at least 0.
    """
    if _empty(mask_BHW):
        return logits_BCHW.sum() * 0
    if logits_BCHW.shape[1] == 2:
        loss: Tensor = FocalLoss("binary", gamma=2.0, ignore_index=IGNORE)(logits_BCHW[:, 1] - logits_BCHW[:, 0], mask_BHW)
    else:
        loss = FocalLoss("multiclass", gamma=2.0, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss


def dice(logits_BCHW: Tensor, mask_BHW: Tensor, foreground: int = 1) -> Tensor:
    """Return 1 - the soft Dice coefficient over all valid pixels of the batch (`smp.losses.DiceLoss`).

    With two classes, it is the foreground's. With more, it is the mean over all C classes, where a class that no mask of the
    batch shows contributes 0.

    Args:
        logits_BCHW: (B, C, H, W), float, one channel per class.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.
        foreground: Number of the foreground class, 0 or 1. Used with two classes only.

    Returns:
        A float32 scalar in 0..1.
    """
    scored = _overlap_classes(logits_BCHW, foreground)
    loss: Tensor = DiceLoss("multiclass", classes=scored, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss.to(torch.float32)


def jaccard(logits_BCHW: Tensor, mask_BHW: Tensor, foreground: int = 1) -> Tensor:
    """Return 1 - the soft IoU over all valid pixels of the batch (`smp.losses.JaccardLoss`).

    It averages over the same classes as `dice`, in the same way.

    Args:
        logits_BCHW: (B, C, H, W), float, one channel per class.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.
        foreground: Number of the foreground class, 0 or 1. Used with two classes only.

    Returns:
        A float32 scalar in 0..1.
    """
    scored = _overlap_classes(logits_BCHW, foreground)
    loss: Tensor = JaccardLoss("multiclass", classes=scored, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss.to(torch.float32)


def _overlap_classes(logits_BCHW: Tensor, foreground: int) -> list[int] | None:
    """Return the classes that Dice and Jaccard score; None for all."""
    return [foreground] if logits_BCHW.shape[1] == 2 else None


def absent_class_loss(logits_BCHW: Tensor, mask_BHW: Tensor, foreground: int = 1) -> Tensor:
    """Return the loss of the classes that no mask of the batch shows, which `dice` and `jaccard` leave out.

    If k valid pixels are predicted as an absent class, its loss is k / (1 + k): 0 if the class is not predicted and close to 1 if
    it is, like 1 - Dice of the hard prediction. Soft probabilities are not used: where another class wins, the small
    probabilities of an absent class would add up over many pixels. The mean is over the classes that `dice` averages over.

    Args:
        logits_BCHW: (B, C, H, W), float, one channel per class.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.
        foreground: Number of the foreground class, 0 or 1. Used with two classes only.

    Returns:
        A float32 scalar in 0..1, without gradient.
    """
    numbers = _overlap_classes(logits_BCHW, foreground) or list(range(logits_BCHW.shape[1]))
    number_K = torch.tensor(numbers, device=mask_BHW.device).view(-1, 1, 1, 1)
    absent_K = ~(mask_BHW == number_K).flatten(1).any(dim=1)
    predicted = logits_BCHW.argmax(dim=1).masked_fill(mask_BHW == IGNORE, IGNORE)
    count_K = (predicted == number_K).flatten(1).sum(dim=1)
    return (count_K / (1 + count_K) * absent_K).mean()


def lovasz(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the Lovasz-Softmax loss over the batch: the mean over the classes that its masks show; 0 if all pixels are ignored.

    Berman et al. 2018, arXiv:1705.08790, as `smp.losses.LovaszLoss`.

    Args:
        logits_BCHW: (B, C, H, W), float32, one channel per class; any other dtype raises `RuntimeError`.
        mask_BHW: (B, H, W), int64, class numbers 0..C-1 or `IGNORE`.

    Returns:
        A float32 scalar in 0..1.
    """
    if _empty(mask_BHW):
        return logits_BCHW.sum() * 0
    loss: Tensor = LovaszLoss("multiclass", ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss


def _empty(mask_BHW: Tensor) -> bool:
    return not bool((mask_BHW != IGNORE).any())


def valid_pixels(mask_BHW: Tensor) -> Tensor:
    """Return the number of pixels of masks (B, H, W) that are not ignored, an int64 scalar."""
    return (mask_BHW != IGNORE).sum()


PIXEL_MEANS: Mapping[str, Loss] = {"cross_entropy": cross_entropy, "bce": bce, "focal": focal}
OVERLAPS: Mapping[str, Callable[..., Tensor]] = {"dice": dice, "jaccard": jaccard}


@dataclass(frozen=True)
class Term:
    """One term of an objective: a loss function with its weight in the sum.

    `function` maps logits (B, C, H, W) and masks (B, H, W) to a scalar.
    `size` maps masks (B, H, W) to their weight in a mean over pixels, a scalar, so that the losses of parts of a batch can be
    added up; None for losses that need the batch as a whole, such as Dice.
    `absent` maps logits and masks to the loss that a validation measure adds for classes that no mask shows; None for no such
    loss.
    """

    weight: float
    function: Loss
    size: Callable[[Tensor], Tensor] | None
    absent: Loss | None = None


@dataclass(frozen=True)
class Objective:
    """A weighted sum of losses, itself a function of logits (B, C, H, W) and masks (B, H, W)."""

    terms: tuple[Term, ...]

    def __call__(self, logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
        """Return the training loss of a batch, a scalar."""
        total = _scaled(self.terms[0].function(logits_BCHW, mask_BHW), self.terms[0].weight)
        for term in self.terms[1:]:
            total = total + _scaled(term.function(logits_BCHW, mask_BHW), term.weight)
        return total

    def measured(self, logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
        """Return the loss of logits (B, C, H, W) against masks (B, H, W) as a validation measure, a scalar.

        Unlike the training loss, Dice and Jaccard penalise predictions of classes that no mask of the batch shows.
        """
        absent = [_scaled(term.absent(logits_BCHW, mask_BHW), term.weight) for term in self.terms if term.absent is not None]
        return sum(absent, self(logits_BCHW, mask_BHW))

    def part(self, logits_BCHW: Tensor, mask_BHW: Tensor, local_BHW: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return the loss to backpropagate for one micro-batch, and the micro-batch's share of the batch's loss: two scalars.

        The shares of all micro-batches and processes add up to the loss of the batch, and the gradients that `World.parallel`
        averages add up to its gradient. A loss that needs the batch as a whole is computed on rows gathered from all processes.
        Within one process, which cuts its batch only when memory is short, such a loss is averaged over the micro-batches.

        Args:
            logits_BCHW: (B, C, H, W), float, logits of the micro-batch.
            mask_BHW: (B, H, W), int64, masks of the micro-batch.
            local_BHW: (L, H, W), int64, masks of all L images of the batch that this process holds.
            count: Number of images in the batch, over all processes.
            world: The processes that share the batch.
        """
        backward, parts = [], []
        for term in self.terms:
            if term.size is not None:
                share = term.size(mask_BHW) / world.total(term.size(local_BHW)).clamp(min=TINY)
                loss = _scaled(term.function(logits_BCHW, mask_BHW), term.weight) * share
                part = loss
            elif world.size == 1:
                loss = _scaled(term.function(logits_BCHW, mask_BHW), term.weight * len(mask_BHW) / len(local_BHW))
                part = loss
            else:  # every process computes the loss of the whole batch, with gradients to its own rows only
                rows = world.gather_rows(logits_BCHW, count), world.gather_rows(mask_BHW, count)
                loss = _scaled(term.function(*rows), term.weight)
                part = loss / world.size
            backward.append(_scaled(loss, world.size))
            parts.append(part.detach())
        return sum(backward[1:], backward[0]), sum(parts[1:], parts[0])


def _scaled(loss: Tensor, weight: float) -> Tensor:
    return loss if weight == 1 else loss * weight


def make_objective(
    text: str, classes: Sequence[str], frequencies: Frequencies | None = None, foreground: int | None = None
) -> Objective:
    """Return the objective of the setting `loss`, such as `0.5*cross_entropy+dice`, for a dataset's classes.

    Args:
        text: One name of a loss, or a weighted sum of names.
        classes: Names of the C classes, in the order of their numbers.
        frequencies: (C,), float64, class frequencies of the training images by `Prepared.class_frequencies`. Only
            `weighted_cross_entropy` needs them.
        foreground: Number of the foreground class if there are two; by default the class that is not called background.

    Raises:
        UserError: The loss is not defined for these classes.
    """
    number = foreground_number(classes) if foreground is None else foreground
    return Objective(tuple(_term(term.name, term.weight, classes, frequencies, number) for term in parse_loss(text)))


def _term(name: str, weight: float, classes: Sequence[str], frequencies: Frequencies | None, foreground: int) -> Term:
    if name.startswith(PREFIX):
        return Term(weight, user_object(name).function, None)
    if name in OVERLAPS:
        absent = partial(absent_class_loss, foreground=foreground)
        return Term(weight, partial(OVERLAPS[name], foreground=foreground), None, absent)
    if name == "lovasz":
        return Term(weight, lovasz, None)
    if name in PIXEL_MEANS:
        return Term(weight, PIXEL_MEANS[name], valid_pixels)
    if name == "cross_entropy_foreground":
        return _foreground_cross_entropy(weight, classes)
    assert name == "weighted_cross_entropy", name
    assert frequencies is not None
    return _weighted_cross_entropy(weight, median_frequency_weights(frequencies))


def check_loss(text: str, classes: Sequence[str]) -> None:
    """Raise `UserError` if a loss is undefined for a dataset's classes, or is a user's that is undeclared or does not work."""
    make_objective(text, classes, np.ones(len(classes)))
    for term in parse_loss(text):
        if term.name.startswith(PREFIX):
            _try_user_loss(term.name, user_object(term.name).function, len(classes))


def _try_user_loss(text: str, function: Loss, classes: int) -> None:
    """Raise `UserError` unless a user's loss gives a finite scalar and gradient for 1 and 2 partly ignored images."""
    for count in (1, 2):
        logits = torch.linspace(-1, 1, count * classes * 64).view(count, classes, 8, 8).requires_grad_()
        masks = (torch.arange(count * 64) % classes).view(count, 8, 8)
        masks[:, 0] = IGNORE
        try:
            loss = function(logits, masks)
            loss.backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # a user's code may raise anything
            raise UserError(f"loss {text!r}: fails for {count} images of {classes} classes: {error!r}") from None
        if loss.dim() != 0 or not bool(loss.isfinite()) or logits.grad is None or not bool(logits.grad.isfinite().all()):
            raise UserError(f"loss {text!r}: must return a finite scalar with a finite gradient; returned {loss!r}")


def _foreground_cross_entropy(weight: float, classes: Sequence[str]) -> Term:
    """Return the term of the cross-entropy over the pixels whose true class is not the background."""
    backgrounds = [number for number, name in enumerate(classes) if is_background(name)]
    if not backgrounds or len(classes) < 3:  # one remaining class would leave nothing to classify
        raise UserError(
            f"loss=cross_entropy_foreground: needs a class {BACKGROUND!r} and two others; the classes are {', '.join(classes)}"
        )
    background = backgrounds[0]

    def foreground_only(mask_BHW: Tensor) -> Tensor:
        return mask_BHW.masked_fill(mask_BHW == background, IGNORE)

    return Term(
        weight,
        lambda logits, mask: cross_entropy(logits, foreground_only(mask)),
        lambda mask: valid_pixels(foreground_only(mask)),
    )


def _weighted_cross_entropy(weight: float, weights: Sequence[float]) -> Term:
    """Return the term of the mean cross-entropy over the pixels, each weighted by the weight of its true class."""

    def size(mask_BHW: Tensor) -> Tensor:
        table = torch.tensor([*weights, *[0.0] * (IGNORE + 1 - len(weights))], device=mask_BHW.device)
        return table[mask_BHW].sum()

    def function(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
        per_class = logits_BCHW.new_tensor(weights)
        total = functional.cross_entropy(logits_BCHW, mask_BHW, per_class, ignore_index=IGNORE, reduction="sum")
        return total / size(mask_BHW).clamp(min=TINY)

    return Term(weight, function, size)


def median_frequency_weights(frequencies: Frequencies) -> tuple[float, ...]:
    """Return one weight per class by median frequency balancing: the median frequency divided by the class's frequency.

    Eigen and Fergus 2015, arXiv:1411.4734. `frequencies` (C,), float64, are those of `Prepared.class_frequencies`. The median is
    over the classes that occur; a class that does not occur has weight 0.
    """
    occurring = frequencies[frequencies > 0]
    median = float(np.median(occurring)) if len(occurring) else 0.0
    return tuple(float(median / each) if each > 0 else 0.0 for each in frequencies)
