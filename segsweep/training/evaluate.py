"""Evaluation of a model on a split: loss, confusion matrices, time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.data.dataset import IGNORE, Pixels
from segsweep.data.palette import palette_png
from segsweep.training.batch_source import BatchSource
from segsweep.training.boundary import boundary_scores
from segsweep.training.device import Device
from segsweep.training.enlarge import predicted_at
from segsweep.training.losses import Objective
from segsweep.training.metrics import Counts, Floats, Scores, image_mean, image_scores, scores
from segsweep.training.world import World


@dataclass(frozen=True)
class Evaluation:
    """Results of one evaluation on N images of C classes.

    `loss`, `losses`: means over the images of the loss of each single image; NaN without a loss. Images whose pixels are all
    ignored are left out.
    `confusion_CC`: (C, C), int64, pixels by true class (rows) and predicted class (columns).
    `counts_N3C`: (N, 3, C), int64, per image and class the number of correct, true and predicted pixels.
    `predict_seconds`: wall time of the forward passes and arg-max, in seconds.
    `examples`: (K, H, W), uint8, the predicted class numbers of the first K images.
    `boundary_NC`: (N, C), float64, boundary F-scores; None if they were not requested.
    `foreground`: number of the class that the main metrics describe if there are two classes.
    `predictions`: predictions for the first images as palette PNGs, at the size at which they are counted.
    """

    loss: float
    confusion_CC: Counts
    counts_N3C: Counts
    predict_seconds: float
    examples: Pixels
    losses: Mapping[str, float] = field(default_factory=dict)
    boundary_NC: Floats | None = None
    foreground: int = 1
    predictions: Sequence[bytes] = ()

    @property
    def scores(self) -> Scores:
        """The metrics of the whole split."""
        return scores(self.confusion_CC, self.foreground)

    @property
    def image_scores(self) -> dict[str, Floats]:
        """Each image's `accuracy`, `iou` and `dice`, arrays (N,), and its `boundary_f` if boundary scores were requested."""
        scores_by_name = image_scores(self.counts_N3C, self.foreground)
        if self.boundary_NC is not None:
            shown_NC, occurs_NC = self.counts_N3C[:, 1] > 0, ~np.isnan(self.boundary_NC)
            scores_by_name["boundary_f"] = image_mean(self.boundary_NC, shown_NC, occurs_NC, self.foreground)
        return scores_by_name

    @property
    def dice(self) -> float:
        """The mean Dice over the images, except images whose pixels are all ignored; NaN if no image is left."""
        dice_N = self.image_scores["dice"]
        return float(np.nanmean(dice_N)) if not np.isnan(dice_N).all() else float("nan")

    def measures(self, classes: Sequence[str]) -> dict[str, float]:
        """Return the metrics by name, with the IoU of each class as `iou_CLASS`; `dice` is the mean over the images."""
        means = self.scores
        return {
            "accuracy": means.accuracy,
            "mean_accuracy": means.mean_accuracy,
            "precision": means.precision,
            "recall": means.recall,
            "f1": means.f1,
            "iou": means.iou,
            "mean_iou": means.mean_iou,
            "weighted_iou": means.weighted_iou,
            "dice": self.dice,
            **{f"iou_{name}": iou for name, iou in zip(classes, means.class_iou, strict=True)},
        }


@dataclass
class _Tally:
    """Counts of one process during an evaluation, on its device; the first `kept` predictions are kept as PNGs."""

    confusion: Tensor
    kept: int
    boundary: bool
    losses: list[Tensor] = field(default_factory=list)
    counts: list[Tensor] = field(default_factory=list)
    boundaries: list[Tensor] = field(default_factory=list)
    examples: list[Tensor] = field(default_factory=list)
    predictions: list[bytes] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, masks_BHW: Tensor, predicted_BHW: Tensor) -> None:
        """Count true and predicted class numbers (B, H, W) of images of one size."""
        classes = len(self.confusion)
        matrices = confusion(masks_BHW, predicted_BHW, classes)
        self.confusion += matrices.sum(dim=0)
        self.counts.append(torch.stack([matrices.diagonal(dim1=1, dim2=2), matrices.sum(2), matrices.sum(1)], dim=1))
        if self.boundary:
            self.boundaries.append(boundary_scores(masks_BHW, predicted_BHW, classes))
        if (missing := self.kept - len(self.predictions)) > 0:
            few = predicted_BHW[:missing].to(torch.uint8).cpu().numpy()
            self.predictions += [palette_png(mask_HW, classes) for mask_HW in few]


def evaluate(
    model: nn.Module,
    batch_source: BatchSource,
    *,
    loss: Objective | None = None,
    batch_size: int,
    precision: str,
    device: Device,
    normalisation: Normalisation = IMAGENET,
    examples: int = 0,
    more_losses: Mapping[str, Objective] | None = None,
    boundary: bool = False,
    predictions: int = 0,
    world: World | None = None,
) -> Evaluation:
    """Evaluate a model on images in eval mode, and restore the model's mode.

    If the dataset has `originals`, logits are resized to each mask's original size before the arg-max, and everything except
    losses and `examples` is computed at that size. The processes of a world evaluate a share each, and all return the whole.

    Args:
        model: Maps the model inputs of `batch_source` to logits (B, C, H, W), where C is the number of the dataset's classes.
        batch_source: The images and their masks, at least one.
        loss: The objective whose mean becomes `Evaluation.loss`.
        batch_size: Images per forward pass.
        precision: `float32` or `bfloat16` (autocast); losses are computed in float32.
        device: The device of the model.
        normalisation: Mean and standard deviation of the inputs.
        examples: Number of images whose predicted class numbers (H, W) are kept as an array.
        more_losses: Objectives by name, whose means become `Evaluation.losses`.
        boundary: Whether to compute boundary F-scores.
        predictions: Number of images whose predictions are kept as PNGs.
        world: The processes that share the evaluation.
    """
    world = world or World()
    count, classes = len(batch_source), len(batch_source.data.classes)
    assert count > 0
    local_positions = world.share(np.arange(count))
    batches = np.split(local_positions, range(batch_size, len(local_positions), batch_size)) if len(local_positions) else []
    objectives = {**({"": loss} if loss is not None else {}), **(more_losses or {})}
    nothing = torch.zeros((classes, classes), dtype=torch.long, device=device.torch)
    tally = _Tally(nothing, predictions - int(local_positions[0]) if len(local_positions) else 0, boundary)
    training = model.training
    model.eval()
    with torch.inference_mode(), torch.autocast(device.torch.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for positions, (loaded, masks_BHW) in zip(batches, batch_source.batches(batches, device), strict=True):
            inputs = batch_source.model_inputs(loaded, normalisation)
            device.wait()
            start = time.perf_counter()
            logits_BCHW: Tensor = model(inputs)
            predicted_BHW = logits_BCHW.argmax(dim=1)
            device.wait()
            tally.seconds += time.perf_counter() - start
            if objectives:
                pairs = zip(logits_BCHW.float(), masks_BHW, strict=True)  # image by image: the batch size must not matter
                tally.losses += [_losses(objectives, logits_CHW, mask_HW) for logits_CHW, mask_HW in pairs]
            if sum(len(part) for part in tally.examples) < examples:
                tally.examples.append(predicted_BHW.to(torch.uint8))
            if batch_source.data.originals is None:
                tally.count(masks_BHW, predicted_BHW)
            else:
                for position, logits_CHW in zip(positions, logits_BCHW.float(), strict=True):
                    original = batch_source.data.originals.mask(int(batch_source.members[position]))
                    mask_HW = torch.from_numpy(original).to(device.torch).long()
                    tally.count(mask_HW[None], predicted_at(logits_CHW, *mask_HW.shape)[None])
    model.train(training)
    return _gathered(tally, list(objectives), batch_source, examples, world)


def _losses(objectives: Mapping[str, Objective], logits_CHW: Tensor, mask_HW: Tensor) -> Tensor:
    """Return an image's losses, followed by 1 if any of its pixels is valid, else 0."""
    losses = [objective.measured(logits_CHW[None], mask_HW[None]) for objective in objectives.values()]
    return torch.stack([*losses, (mask_HW != IGNORE).any().to(logits_CHW.dtype)])


def _gathered(tally: _Tally, names: list[str], batch_source: BatchSource, examples: int, world: World) -> Evaluation:
    """Return the evaluation that the tallies of all processes add up to."""
    classes = len(batch_source.data.classes)

    def numbers(parts: list[Tensor], *shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, *shape))

    image_losses = torch.stack(tally.losses).double().cpu().numpy() if tally.losses else np.zeros((0, len(names) + 1))
    local = (
        image_losses,
        tally.confusion.cpu().numpy(),
        numbers(tally.counts, 3, classes),
        numbers(tally.boundaries, classes),
        numbers(tally.examples, *batch_source.data.masks.shape[1:])[:examples],
        tally.predictions,
        tally.seconds,
    )
    losses, confusions, counts, boundaries, kept, predicted, seconds = zip(*world.gather(local), strict=True)
    *sums, counted = np.concatenate(losses).sum(axis=0)  # the losses of fully ignored images are 0
    means = {name: float(total / max(1, counted)) for name, total in zip(names, sums, strict=True)}
    return Evaluation(
        loss=means.pop("", float("nan")),
        losses=means,
        confusion_CC=np.sum(confusions, axis=0),
        counts_N3C=np.concatenate(counts).astype(np.int64),
        examples=np.concatenate(kept)[:examples].astype(np.uint8),
        boundary_NC=np.concatenate(boundaries).astype(np.float64) if tally.boundary else None,
        predict_seconds=max(seconds),
        foreground=batch_source.data.foreground,
        predictions=tuple(png for part in predicted for png in part),
    )


def confusion(masks_BHW: Tensor, predicted_BHW: Tensor, classes: int) -> Tensor:
    """Return one confusion matrix per image, (B, C, C) int64, with true classes in rows; ignored pixels are left out.

    `masks_BHW` and `predicted_BHW` (B, H, W), int64, hold class numbers 0..C-1; the masks may also hold `IGNORE`.
    """
    batch = len(masks_BHW)
    entries = (torch.arange(batch, device=masks_BHW.device).view(-1, 1, 1) * classes + masks_BHW) * classes + predicted_BHW
    counted = entries[masks_BHW != IGNORE]
    return torch.bincount(counted, minlength=batch * classes * classes).view(batch, classes, classes)
