"""Domain shift: what a source's own model does on the target before fine-tuning, and what of the source is forgotten after it.

The fine-tuned model cannot tell the source's classes apart where its head was replaced. What is tested on the source again is
therefore the source's model in which all that was transferred has its fine-tuned values, beside a head that was kept aside.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from segsweep.config.work import Trial
from segsweep.context import ExecutionContext
from segsweep.data.dataset import Pixels
from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.class_map import ClassMap, map_classes
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.models.transfer import transfer_weights
from segsweep.stage import load_source, normalisation_from, source_sets
from segsweep.store.contents import WEIGHTS
from segsweep.training.batches import ImageSet
from segsweep.training.checkpoint import Weights
from segsweep.training.evaluate import Evaluation, evaluate

Evaluate = Callable[..., Evaluation]  # `evaluate` with all arguments bound but the model and the images
BEFORE = "before_"  # the columns of the test before fine-tuning are those of the test with this in place of `test_`


@dataclass(frozen=True)
class Shift:
    """What was measured, as columns of the trial's record, and predictions of the first test pictures before fine-tuning.

    Both are empty where the source has no model with known classes, or none with a class of the target.
    """

    facts: Mapping[str, float] = field(default_factory=dict)
    examples: Pixels | tuple[()] = ()


class InTargetClasses(nn.Module):
    """A model of a source's classes that answers in the target's."""

    def __init__(self, model: nn.Module, classes: ClassMap) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits (B, target classes, H, W)."""
        return self.classes.logits(self.model(images_BCHW))


def measure_shift(
    trial: Trial,
    source_key: str | None,
    fine_tuned: Weights,
    test_set: ImageSet,
    context: ExecutionContext,
    *,
    batch_size: int,
    examples: int = 0,
) -> Shift:
    """Test the source's model on the target, and the fine-tuned one on the source's validation pictures.

    `fine_tuned` are the weights of the trial's model; pictures are normalised as the source's model was trained with. The
    processes of a world share them, and all get the whole.
    """
    artifact = context.store.open(WEIGHTS, source_key) if source_key is not None else None
    if artifact is None or artifact.metadata["encoder_only"] or artifact.metadata["classes"] is None:
        return Shift()
    classes, data = artifact.metadata["classes"], test_set.data
    model = build_model(trial.settings.architecture, len(classes), seed=0)
    load_source(model, artifact, "all", classes)
    model.to(context.device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    stage = trial.stage
    sets = source_sets(stage, context) if stage is not None and stage.stage.supervised else None  # published ones have none
    evaluate_on: Evaluate = partial(
        evaluate,
        batch_size=batch_size,
        precision=trial.settings.precision,
        device=context.device,
        normalisation=normalisation_from(artifact),
        world=context.world,
    )
    mapped = None
    with suppress(UserError):  # no class but the background in common: this was told before the run
        mapped = map_classes(classes, data.classes, trial.target.class_map)
    shift = Shift() if mapped is None else _before(model, mapped, test_set, evaluate_on, examples)
    if sets is None:
        return shift
    other_classes = mapped is None or not mapped.one_to_one
    scope = trial.settings.transfer
    before = evaluate_on(model, sets[1]).scores.mean_iou
    transfer_weights(model, fine_tuned, "all-but-classifier" if scope == "all" and other_classes else scope)
    after = evaluate_on(model, sets[1]).scores.mean_iou
    forgotten = {"source_mean_iou_before": before, "source_mean_iou_after": after, "forgetting": before - after}
    return replace(shift, facts={**shift.facts, **forgotten})


def _before(model: SegmentationModel, mapped: ClassMap, test_set: ImageSet, evaluate_on: Evaluate, examples: int) -> Shift:
    """Test the source's model: what of its classes stands for none of the target's is background."""
    tested = evaluate_on(InTargetClasses(model, mapped.rest_as_background()), test_set, examples=examples)
    measures = tested.measures(test_set.data.classes)
    return Shift({BEFORE + name: value for name, value in measures.items()}, tested.examples)
