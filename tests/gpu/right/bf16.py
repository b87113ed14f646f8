"""bfloat16 against float32 on the device: whole curves."""

from collections.abc import Iterator
from dataclasses import dataclass

from gpu.drawn import draw_sets
from gpu.part_context import PartContext
from gpu.rows import Row, at_most, note
from gpu.runs import Run, recipe_of
from segsweep.training.loop import EpochResult

NETWORKS = ("unet16", "unet-mobilenet_v2", "unet-vgg16", "deeplabv3-resnet50", "denseaspp-densenet121", "segformer-mit_b0")
LOSSES = ("dice", "jaccard", "focal", "lovasz", "bce")
LOSS_TOLERANCE = 0.1  # relative to the mean training loss
IOU_TOLERANCE = 0.03
ROUNDING = 2**-9  # relative rounding error of bfloat16, for every weight in every forward pass
TIMES_PERTURBED = 3  # allowed distance between the precisions, relative to that of the two runs in float32


@dataclass(frozen=True)
class _Case:
    """One network with one loss."""

    part_context: PartContext
    name: str
    loss: str
    learning_rate: float

    def __str__(self) -> str:
        return f"{self.name}, {self.loss}"

    def go(self, precision: str, perturbation: float = 0.0) -> list[EpochResult]:
        """Return the results of a run."""
        part_context = self.part_context
        sets = draw_sets(part_context.size(160, 8), part_context.size(64, 4), part_context.size(64, 32))
        values = {"precision": precision, "loss": self.loss, "learning_rate": self.learning_rate}
        recipe = recipe_of(part_context.size(4, 1), batch_size=part_context.size(16, 4), **values)
        checkpoint = part_context.folder / f"{self.name}-{self.loss}-{precision}-{perturbation:g}"
        return Run(self.name, sets, recipe, part_context.device, checkpoint, perturbation=perturbation).go()


def networks(part_context: PartContext) -> Iterator[Row]:
    """Yield the comparison of every kind of network with cross-entropy.

    If training itself amplifies rounding, as in a deep network of random weights, the bound follows: a second run in float32,
    whose initial weights differ by bfloat16's rounding, measures it.
    """
    for name in part_context.size(NETWORKS, NETWORKS[:1]):
        case = _Case(part_context, name, "cross_entropy", 3e-4)
        full = case.go("float32")
        yield from _compare(case, full, case.go("float32", ROUNDING))


def losses(part_context: PartContext) -> Iterator[Row]:
    """Yield the comparison of every other loss with a small U-Net: losses are computed in float32 from bfloat16 logits."""
    for loss in part_context.size(LOSSES, LOSSES[:1]):
        case = _Case(part_context, "unet16", loss, 1e-3)
        yield from _compare(case, case.go("float32"))


def _compare(case: _Case, full: list[EpochResult], perturbed: list[EpochResult] | None = None) -> Iterator[Row]:
    """Yield the differences of training loss and IoU between bfloat16 and float32; a perturbed run may widen the bounds."""
    half = case.go("bfloat16")
    apart, expected = (abs(_mean_loss(full) - _mean_loss(other)) / _mean_loss(full) for other in (half, perturbed or full))
    rule = f" (bound: {LOSS_TOLERANCE:g}, or {TIMES_PERTURBED} x {expected:.1e} of perturbed weights)" if perturbed else ""
    bound = max(LOSS_TOLERANCE, TIMES_PERTURBED * expected)
    yield at_most(f"{case}: relative difference of mean training loss{rule}", apart, bound)
    apart, expected = (abs(_best(full) - _best(other)) for other in (half, perturbed or full))
    rule = f" (bound: {IOU_TOLERANCE:g}, or {TIMES_PERTURBED} x {expected:.1e} of perturbed weights)" if perturbed else ""
    yield at_most(f"{case}: difference of best IoU{rule}", apart, max(IOU_TOLERANCE, TIMES_PERTURBED * expected))
    yield note(f"{case}: last validation loss float32 / bfloat16", f"{full[-1].val_loss:.4f} / {half[-1].val_loss:.4f}")


def _mean_loss(results: list[EpochResult]) -> float:
    return sum(each.train_loss for each in results) / len(results)


def _best(results: list[EpochResult]) -> float:
    return max(each.val.iou for each in results)


CHECKS = (networks, losses)
