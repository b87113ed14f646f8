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
    """What an evaluation gives.

    `loss` is the mean over the images, each taken by itself (NaN where none was asked for), and so are `losses`; an image that
    is ignored altogether counts nowhere.
    `confusion_CC` has the truth in rows and the prediction in columns; `counts_N3C` holds every image's pixels per class:
    hit, true, predicted. `predict_seconds` is the time of forward passes and arg-max alone. `examples` (K, H, W) are the
    predictions for the first images, `predictions` those for more of them, as palette PNGs; `boundary_NC` the boundary F-scores,
    where they were asked for. `foreground` is the number of the headline's class where there are two.
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
        """Every image's accuracy, IoU and Dice (N,), and its boundary F-score where that was asked for."""
        each = image_scores(self.counts_N3C, self.foreground)
        if self.boundary_NC is not None:
            shown_NC, occurs_NC = self.counts_N3C[:, 1] > 0, ~np.isnan(self.boundary_NC)
            each["boundary_f"] = image_mean(self.boundary_NC, shown_NC, occurs_NC, self.foreground)
        return each

    @property
    def dice(self) -> float:
        """The mean Dice over the images; one that is ignored altogether counts nowhere. NaN where all are."""
        dice_N = self.image_scores["dice"]
        return float(np.nanmean(dice_N)) if not np.isnan(dice_N).all() else float("nan")

    def measures(self, classes: Sequence[str]) -> dict[str, float]:
        """Return the metrics by name, the IoU of every class as `iou_CLASS`; `dice` is the mean over the images."""
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
    """What one process has counted so far, on its device: `kept` predictions are to be kept as PNGs."""

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
        """Count what was predicted for some images of one size."""
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
    """Run a model over images in eval mode and count; the model's mode is restored.

    The model gives logits (B, classes, H, W) for the images' classes. The predicted class numbers (H, W) are kept for the first
    `examples` images as an array, and for the first `predictions` ones as PNGs. Where the images' data have `originals`, logits
    are resized to each mask's original size before the arg-max, and all but losses and `examples` is counted there. The processes
    of a world take a share each, and all get the whole.
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
                pairs = zip(logits_BCHW.float(), masks_BHW, strict=True)  # each by itself: batches must not matter
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
    """Return an image's losses, and at last whether any of its pixels counts: 1 or 0."""
    each = [objective.measured(logits_CHW[None], mask_HW[None]) for objective in objectives.values()]
    return torch.stack([*each, (mask_HW != IGNORE).any().to(logits_CHW.dtype)])


def _gathered(tally: _Tally, names: list[str], batch_source: BatchSource, examples: int, world: World) -> Evaluation:
    """Return what all processes have counted together."""
    classes = len(batch_source.data.classes)

    def numbers(parts: list[Tensor], *shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, *shape))

    each = torch.stack(tally.losses).double().cpu().numpy() if tally.losses else np.zeros((0, len(names) + 1))
    local = (
        each,
        tally.confusion.cpu().numpy(),
        numbers(tally.counts, 3, classes),
        numbers(tally.boundaries, classes),
        numbers(tally.examples, *batch_source.data.masks.shape[1:])[:examples],
        tally.predictions,
        tally.seconds,
    )
    losses, confusions, counts, boundaries, kept, predicted, seconds = zip(*world.gather(local), strict=True)
    *sums, counted = np.concatenate(losses).sum(axis=0)  # those of images that are ignored altogether are 0
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
    """Return integer confusion matrices (B, C, C), truth in rows; ignored pixels are left out."""
    batch = len(masks_BHW)
    cells = (torch.arange(batch, device=masks_BHW.device).view(-1, 1, 1) * classes + masks_BHW) * classes + predicted_BHW
    counted = cells[masks_BHW != IGNORE]
    return torch.bincount(counted, minlength=batch * classes * classes).view(batch, classes, classes)
