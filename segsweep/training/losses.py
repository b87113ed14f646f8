"""Losses, by name: each takes logits (B, C, H, W) and masks (B, H, W) and returns a scalar. Ignored pixels count nowhere.

With two classes, `bce`, `focal`, `dice` and `jaccard` look at the foreground alone; with more, they are means over the classes.

In training, Dice and Jaccard are smp's, which give a class that the batch does not show a loss of 0 whatever is predicted. As
measures, which decide what is kept and reported, they count it: see `Objective.measured`.
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
TINY = 1e-9  # keeps a mean over no pixels from being 0/0


def cross_entropy(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy over the pixels that are not ignored; 0 where all are.

    The background counts as any other class.
    """
    total = functional.cross_entropy(logits_BCHW, mask_BHW, ignore_index=IGNORE, reduction="sum")
    return total / counted(mask_BHW).clamp(min=1)


def bce(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over the pixels: of the foreground with two classes, else one class against the rest.

    With two classes the logit is the foreground's less the background's, so it equals `cross_entropy`.
    """
    valid = mask_BHW != IGNORE
    logits, truth = _one_against_rest(logits_BCHW, mask_BHW)
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
    return (each * valid).sum() / valid.sum().clamp(min=1)


def _one_against_rest(logits_BCHW: Tensor, mask_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and truth (B, K, H, W) of binary decisions: K is 1 with two classes, else the number of classes."""
    classes = logits_BCHW.shape[1]
    if classes == 2:
        return logits_BCHW[:, 1:] - logits_BCHW[:, :1], (mask_BHW == 1)[:, None].to(logits_BCHW.dtype)
    numbers = torch.arange(classes, device=mask_BHW.device).view(1, -1, 1, 1)
    return logits_BCHW, (mask_BHW[:, None] == numbers).to(logits_BCHW.dtype)


def focal(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the focal loss with gamma 2, unbalanced (Lin et al. 2017, arXiv:1708.02002; smp.losses.FocalLoss).

    The mean over pixels of the binary loss of the foreground with two classes, of each class against the rest with more.
    """
    if _empty(mask_BHW):
        return logits_BCHW.sum() * 0
    if logits_BCHW.shape[1] == 2:
        loss: Tensor = FocalLoss("binary", gamma=2.0, ignore_index=IGNORE)(logits_BCHW[:, 1] - logits_BCHW[:, 0], mask_BHW)
    else:
        loss = FocalLoss("multiclass", gamma=2.0, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss


def dice(logits_BCHW: Tensor, mask_BHW: Tensor, foreground: int = 1) -> Tensor:
    """Return one minus the soft Dice coefficient over the batch, ignored pixels left out (smp.losses.DiceLoss).

    With two classes it is the foreground's; with more, the mean over the classes, those absent from the batch counting 0.
    """
    shown = _overlap_classes(logits_BCHW, foreground)
    loss: Tensor = DiceLoss("multiclass", classes=shown, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss.to(torch.float32)


def jaccard(logits_BCHW: Tensor, mask_BHW: Tensor, foreground: int = 1) -> Tensor:
    """Return one minus the soft IoU over the batch (smp.losses.JaccardLoss), with the classes of `dice`."""
    shown = _overlap_classes(logits_BCHW, foreground)
    loss: Tensor = JaccardLoss("multiclass", classes=shown, ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss.to(torch.float32)


def _overlap_classes(logits_BCHW: Tensor, foreground: int) -> list[int] | None:
    return [foreground] if logits_BCHW.shape[1] == 2 else None


def absent_class_loss(logits_BCHW: Tensor, mask_BHW: Tensor, foreground: int = 1) -> Tensor:
    """Return what Dice and Jaccard leave out: the loss of the classes that the batch does not show, over the same classes.

    With k the number of counted pixels that are predicted as such a class, its loss is k / (1 + k): 0 where it is not predicted
    and close to 1 where it is, as one minus the Dice coefficient of the image. What is left of its probabilities where others win
    does not count, since over many pixels it adds up.
    """
    numbers = _overlap_classes(logits_BCHW, foreground) or list(range(logits_BCHW.shape[1]))
    number_K = torch.tensor(numbers, device=mask_BHW.device).view(-1, 1, 1, 1)
    absent_K = ~(mask_BHW == number_K).flatten(1).any(dim=1)
    predicted = logits_BCHW.argmax(dim=1).masked_fill(mask_BHW == IGNORE, IGNORE)
    count_K = (predicted == number_K).flatten(1).sum(dim=1)
    return (count_K / (1 + count_K) * absent_K).mean()


def lovasz(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """Return the Lovasz-Softmax loss over the batch, the mean over the classes present (Berman et al. 2018, arXiv:1705.08790).

    It is smp.losses.LovaszLoss.
    """
    if _empty(mask_BHW):
        return logits_BCHW.sum() * 0
    loss: Tensor = LovaszLoss("multiclass", ignore_index=IGNORE)(logits_BCHW, mask_BHW)
    return loss


def _empty(mask_BHW: Tensor) -> bool:
    return not bool((mask_BHW != IGNORE).any())


def counted(mask_BHW: Tensor) -> Tensor:
    """Return how many pixels are not ignored."""
    return (mask_BHW != IGNORE).sum()


PIXEL_MEANS: Mapping[str, Loss] = {"cross_entropy": cross_entropy, "bce": bce, "focal": focal}
OVERLAPS: Mapping[str, Callable[..., Tensor]] = {"dice": dice, "jaccard": jaccard}


@dataclass(frozen=True)
class Term:
    """One term of an objective.

    `size` gives, for losses that are means over pixels, what a mask weighs in such a mean, so that the parts of a batch can
    be added up; None for losses of a batch as a whole. `absent` is what a measure adds for the classes that are not shown.
    """

    weight: float
    function: Loss
    size: Callable[[Tensor], Tensor] | None
    absent: Loss | None = None


@dataclass(frozen=True)
class Objective:
    """A weighted sum of losses."""

    terms: tuple[Term, ...]

    def __call__(self, logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        total = _scaled(self.terms[0].function(logits_BCHW, mask_BHW), self.terms[0].weight)
        for term in self.terms[1:]:
            total = total + _scaled(term.function(logits_BCHW, mask_BHW), term.weight)
        return total

    def measured(self, logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
        """Return the loss of a batch as a measure, a scalar: Dice and Jaccard count predictions of classes that are not shown."""
        extra = [_scaled(term.absent(logits_BCHW, mask_BHW), term.weight) for term in self.terms if term.absent is not None]
        return sum(extra, self(logits_BCHW, mask_BHW))

    def part(self, logits_BCHW: Tensor, mask_BHW: Tensor, local_BHW: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return what is backpropagated for a piece of a batch, and the piece's part of the batch's loss.

        `mask_BHW` belongs to the piece, `local_BHW` to all that this process has of the batch of `count` images. The parts
        of all pieces and processes add up to the loss of the batch, and the gradients that `World.parallel` averages to its
        gradient. Losses of a batch as a whole are gathered over the processes; over the pieces of one process, which there
        are only where memory is short, they are averaged.
        """
        backward, parts = [], []
        for term in self.terms:
            if term.size is not None:
                share = term.size(mask_BHW) / world.total(term.size(local_BHW)).clamp(min=TINY)
                loss = _scaled(term.function(logits_BCHW, mask_BHW), term.weight) * share
                among = loss
            elif world.size == 1:
                loss = _scaled(term.function(logits_BCHW, mask_BHW), term.weight * len(mask_BHW) / len(local_BHW))
                among = loss
            else:  # all processes have the whole loss, each with gradients to its own rows
                rows = world.gather_rows(logits_BCHW, count), world.gather_rows(mask_BHW, count)
                loss = _scaled(term.function(*rows), term.weight)
                among = loss / world.size
            backward.append(_scaled(loss, world.size))
            parts.append(among.detach())
        return sum(backward[1:], backward[0]), sum(parts[1:], parts[0])


def _scaled(loss: Tensor, weight: float) -> Tensor:
    return loss if weight == 1 else loss * weight


def make_objective(
    text: str, classes: Sequence[str], frequencies: Frequencies | None = None, foreground: int | None = None
) -> Objective:
    """Return the objective that a text as `0.5*cross_entropy+dice` names, for a dataset's classes.

    `frequencies` (C,) are those of the classes in the training images, by `Prepared.class_frequencies`, which
    `weighted_cross_entropy` needs; `foreground` is the number of that class where there are two, by default the one that is not
    called background.
    Raises `UserError` for a loss that these classes do not allow.
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
        return Term(weight, PIXEL_MEANS[name], counted)
    if name == "cross_entropy_foreground":
        return _foreground_cross_entropy(weight, classes)
    assert name == "weighted_cross_entropy", name
    assert frequencies is not None
    return _weighted_cross_entropy(weight, median_frequency_weights(frequencies))


def check_loss(text: str, classes: Sequence[str]) -> None:
    """Raise `UserError` for a loss that a dataset's classes do not allow, or that no study file brought."""
    make_objective(text, classes, np.ones(len(classes)))
    for term in parse_loss(text):
        if term.name.startswith(PREFIX):
            _rehearse(term.name, user_object(term.name).function, len(classes))


def _rehearse(text: str, function: Loss, classes: int) -> None:
    """Raise `UserError` where an own loss is none: for one image and for two, some pixels of them ignored."""
    for count in (1, 2):
        logits = torch.linspace(-1, 1, count * classes * 64).view(count, classes, 8, 8).requires_grad_()
        masks = (torch.arange(count * 64) % classes).view(count, 8, 8)
        masks[:, 0] = IGNORE
        try:
            loss = function(logits, masks)
            loss.backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever a user's code raises
            raise UserError(f"loss {text!r}: fails for {count} images of {classes} classes: {error!r}") from None
        if loss.dim() != 0 or not bool(loss.isfinite()) or logits.grad is None or not bool(logits.grad.isfinite().all()):
            raise UserError(f"loss {text!r}: must return a finite scalar with a gradient; gave {loss!r}")


def _foreground_cross_entropy(weight: float, classes: Sequence[str]) -> Term:
    """Return cross-entropy over the pixels whose true class is not the background."""
    grounds = [number for number, name in enumerate(classes) if is_background(name)]
    if not grounds or len(classes) < 3:  # with one class left there is nothing to tell apart
        raise UserError(
            f"loss=cross_entropy_foreground: needs a class {BACKGROUND!r} and two others; the classes are {', '.join(classes)}"
        )
    background = grounds[0]

    def without(mask_BHW: Tensor) -> Tensor:
        return mask_BHW.masked_fill(mask_BHW == background, IGNORE)

    return Term(weight, lambda logits, mask: cross_entropy(logits, without(mask)), lambda mask: counted(without(mask)))


def _weighted_cross_entropy(weight: float, weights: Sequence[float]) -> Term:
    """Return the mean of the cross-entropy over the pixels, each weighing as much as its true class."""

    def size(mask_BHW: Tensor) -> Tensor:
        table = torch.tensor([*weights, *[0.0] * (IGNORE + 1 - len(weights))], device=mask_BHW.device)
        return table[mask_BHW].sum()

    def function(logits_BCHW: Tensor, mask_BHW: Tensor) -> Tensor:
        per_class = logits_BCHW.new_tensor(weights)
        total = functional.cross_entropy(logits_BCHW, mask_BHW, per_class, ignore_index=IGNORE, reduction="sum")
        return total / size(mask_BHW).clamp(min=TINY)

    return Term(weight, function, size)


def median_frequency_weights(frequencies: Frequencies) -> tuple[float, ...]:
    """Return class weights by median frequency balancing (Eigen and Fergus 2015, arXiv:1411.4734): median / own frequency.

    `frequencies` (C,) are those of `Prepared.class_frequencies`; the median is over the classes that occur, and a class that
    does not occur weighs 0.
    """
    occurring = frequencies[frequencies > 0]
    median = float(np.median(occurring)) if len(occurring) else 0.0
    return tuple(float(median / each) if each > 0 else 0.0 for each in frequencies)
