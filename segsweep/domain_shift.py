"""Domain shift: the source model's test on the target before fine-tuning, and how much of the source fine-tuning forgets.

The fine-tuned model cannot classify the source's classes, since its head was replaced. The second test on the source therefore
uses the source's model with the fine-tuned values of all transferred weights and with the source's original head.
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

Evaluate = Callable[..., Evaluation]  # `evaluate` with all arguments bound except the model and the images
BEFORE = "before_"  # prefix of the columns of the test before fine-tuning; replaces `test_`


@dataclass(frozen=True)
class Shift:
    """Measured columns of the trial's record, and predictions for the first test images before fine-tuning.

    Both are empty if the source has no model with known classes, or shares no class with the target.
    """

    facts: Mapping[str, float] = field(default_factory=dict)
    examples: Pixels | tuple[()] = ()


class InTargetClasses(nn.Module):
    """The source's model with its logits mapped to the target's classes."""

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
    """Test the source's model on the target, and the fine-tuned model on the source's validation images.

    All processes of a world share the images, and each returns the whole result. Images are normalised as in the training of the
    source's model.

    Args:
        trial: The finished trial.
        source_key: Key of the source's last stage in the store; None for random weights.
        fine_tuned: Weights of the trial's model.
        test_set: Test split of the target.
        context: Execution context.
        batch_size: Images per forward pass.
        examples: Number of test images whose predictions are returned.
    """
    artifact = context.store.open(WEIGHTS, source_key) if source_key is not None else None
    if artifact is None or artifact.metadata["encoder_only"] or artifact.metadata["classes"] is None:
        return Shift()
    classes, data = artifact.metadata["classes"], test_set.data
    model = build_model(trial.settings.architecture, len(classes), seed=0)
    load_source(model, artifact, "all", classes)
    model.to(context.device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    stage = trial.stage
    sets = source_sets(stage, context) if stage is not None and stage.stage.supervised else None  # published ones have no data
    evaluate_on: Evaluate = partial(
        evaluate,
        batch_size=batch_size,
        precision=trial.settings.precision,
        device=context.device,
        normalisation=normalisation_from(artifact),
        world=context.world,
    )
    mapped = None
    with suppress(UserError):  # no common class except background, which the preflight has reported
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
    """Test the source's model on the target; source classes without a class of the target count as background."""
    tested = evaluate_on(InTargetClasses(model, mapped.rest_as_background()), test_set, examples=examples)
    measures = tested.measures(test_set.data.classes)
    return Shift({BEFORE + name: value for name, value in measures.items()}, tested.examples)
