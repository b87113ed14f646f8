"""The executor of stages: builds weights from data or from published files. It does not import Ray."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from segsweep.config.keep import smoothed
from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.source import Stage
from segsweep.config.work import StageSpec
from segsweep.context import ExecutionContext
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source
from segsweep.models.architectures import build_encoder, build_model
from segsweep.models.class_map import map_classes
from segsweep.models.encoder_name import encoder_name, resnet_stem
from segsweep.models.pretrained import (
    COCO_WEIGHTS_IGNORED,
    check_coco_weights,
    check_imagenet,
    classes_of_weights,
    coco_normalisation,
    coco_weights,
    imagenet_encoder,
    imagenet_normalisation,
    published_coco,
    published_imagenet,
)
from segsweep.models.published_file import Published
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.models.small_stem import use_small_stem
from segsweep.models.transfer import TransferReport, transfer_weights
from segsweep.store.contents import CHECKPOINT_FILE, DATA, WEIGHTS, WEIGHTS_FILE
from segsweep.store.protocol import Artifact, BeingBuiltError, Build, Checkpoints
from segsweep.tasks.messages import BuiltElsewhere, Finished, Started
from segsweep.tasks.stage_task import StageTask
from segsweep.training.batches import ImageSet, normalisation_of
from segsweep.training.calibrate import layers_with_statistics, set_statistics
from segsweep.training.checkpoint import Weights, load_weights, save_weights
from segsweep.training.loop import EpochResult, best_result, start_state, train
from segsweep.training.probe import knn_facts
from segsweep.training.recipe import Recipe
from segsweep.training.self_supervised import (
    PretrainingResult,
    contrastive_chance,
    pretrain,
    start_pretraining,
)
from segsweep.training.self_supervised_method import PretrainingRecipe, build_method
from segsweep.training.weight_file import load_file_weights, read_weight_file
from segsweep.training.world import World

UNUSED_CLASSES = 2  # classes of a model of which only the encoder is used

Result = EpochResult | PretrainingResult
AnyResult = TypeVar("AnyResult", EpochResult, PretrainingResult)


@dataclass(frozen=True)
class Built:
    """The output of a stage.

    Attributes:
        weights: Tensors by the network's parameter names.
        facts: Columns of the stage's record.
        normalisation: Input normalisation that the weights expect.
        classes: Classes of the last classifier; None if there is no classifier or its classes are unknown.
        unused: Prefixes of the names of weights that belong to no part of the model.
        absent: Prefixes of the names of encoder weights that the stage does not provide.
    """

    weights: Weights
    facts: Mapping[str, Any]
    normalisation: Normalisation
    classes: Sequence[str] | None = None
    unused: Sequence[str] = ()
    absent: Sequence[str] = ()


StageSteps = Iterator[Started | Result | Built]


def execute_stage(
    task: StageTask, keys: Sequence[str], context: ExecutionContext
) -> Iterator[Started | Result | Finished | BuiltElsewhere]:
    """Execute a task of the kind `stage`; `keys` holds the key of the preceding stage, if there is one."""
    yield from build_stage(task.spec, keys[0] if keys else None, context)


def build_stage(
    spec: StageSpec, parent_key: str | None, context: ExecutionContext
) -> Iterator[Started | Result | Finished | BuiltElsewhere]:
    """Build one stage on the preceding one; yield a result per epoch and finally the outcome.

    A stage that is already in the store yields its outcome at once. A stage that another process is building yields
    `BuiltElsewhere`. An interrupted stage resumes from its last epoch.

    Args:
        spec: Specification of the stage.
        parent_key: Key of the preceding stage in the store; None for the first stage.
        context: Execution context.

    Raises:
        UserError: published weights or a weight file cannot be read.
        LostArtifactError: the preceding stage or the data is missing in the store, or damaged.
    """
    parent = context.store.open(WEIGHTS, parent_key) if parent_key else None
    assert (parent is None) == (spec.parent is None)
    key, world = spec.key(parent.content_hash if parent else None), context.world
    with _only_builder(key, context) as build:
        if world.agree(build is None):
            yield BuiltElsewhere()
            return
        if world.agree(build is not None and build.found is None):
            builder = _self_supervised if spec.stage.self_supervised else STAGE_BUILDERS[spec.stage.kind]
            for step in builder(spec, parent, context):
                if isinstance(step, Started | Result):
                    yield step
                elif build is not None:
                    save_weights(step.weights, build.folder / WEIGHTS_FILE)
                    build.commit(
                        {
                            "stage": spec.name,
                            "model": spec.model,
                            "encoder_only": spec.encoder_only,
                            "classes": step.classes,
                            "unused": step.unused,
                            "absent": step.absent,
                            "named_freely": spec.stage.path is not None,
                            "normalisation": step.normalisation.as_dict(),
                            "facts": {**step.facts, "input_normalisation": str(step.normalisation)},
                        }
                    )
        found = world.agree(build.found if build else None)
        assert found is not None
        if world.main:
            context.store.checkpoints(key).clear()
        yield Finished(found.metadata["facts"], artifact=found)


@contextmanager
def _only_builder(key: str, context: ExecutionContext) -> Iterator[Build | None]:
    """Yield the build of a stage in the main process of a world; None in others, or if another process is building the stage."""
    if not context.world.main:
        yield None
        return
    with ExitStack() as held:
        try:
            build = held.enter_context(context.store.building(WEIGHTS, key, wait=False))
        except BeingBuiltError:
            build = None
        yield build


def saved(results: Iterable[AnyResult], checkpoints: Checkpoints, world: World) -> Iterator[AnyResult]:
    """Yield a loop's results, each after the checkpoint that contains it has been saved to the store."""
    for result in results:
        if world.main:
            checkpoints.save()
        yield result


def normalisation_from(parent: Artifact | None) -> Normalisation:
    """Return the normalisation that a stage's weights expect; ImageNet's if there is no stage."""
    return IMAGENET if parent is None else Normalisation.of(parent.metadata["normalisation"])


def _stage_normalisation(spec: StageSpec, parent: Artifact | None, train_set: ImageSet) -> Normalisation:
    return normalisation_of(spec.settings.get("normalisation", "source"), train_set, normalisation_from(parent))


def source_sets(spec: StageSpec, context: ExecutionContext) -> tuple[ImageSet, ImageSet]:
    """Return the training and validation images of a stage."""
    assert spec.data is not None
    data = Prepared.open(context.store.open(DATA, spec.data).folder)
    choice, labelled = spec.settings.get("split", "official"), spec.stage.supervised
    split = split_source(data, spec.stage.limit, spec.seed, choice, labelled=labelled, without=spec.without, leakage=spec.leakage)
    train_set, val_set = (ImageSet(data, part).first(context.max_images) for part in (split.train, split.val))
    return train_set, val_set


def _sizes(spec: StageSpec, train_set: ImageSet, val_set: ImageSet) -> dict[str, int]:
    """Return the numbers of training and validation images, and of images left out because the target holds them out."""
    return {"train_images": len(train_set), "val_images": len(val_set), "dropped_duplicates": len(spec.without)}


def _supervised(spec: StageSpec, parent: Artifact | None, context: ExecutionContext) -> StageSteps:
    """Train a whole segmentation model on a source; the setting `keep` selects the epoch whose weights are kept."""
    context.device.set_up()
    train_set, val_set = source_sets(spec, context)
    data = train_set.data
    model = build_model(spec.model, len(data.classes), spec.seed)
    if parent is not None:
        load_source(model, parent, "all-but-classifier")
    recipe = Recipe.of(spec.settings, _stage_normalisation(spec, parent, train_set))
    checkpoints = context.store.checkpoints(spec.key(parent.content_hash if parent else None))
    checkpoint = checkpoints.open() / CHECKPOINT_FILE
    state = start_state(model, recipe, context.device, checkpoint, context.world)
    sizes = {**_sizes(spec, train_set, val_set), "classes": len(data.classes)}
    yield Started({"device": context.device.label, "dataset": data.dataset, **sizes, **state.facts})
    results = train(
        state, train_set, val_set, recipe, seed=spec.seed, device=context.device, checkpoint=checkpoint, world=context.world
    )
    yield from saved(results, checkpoints, context.world)
    best = best_result(state)
    facts = {
        "dataset": data.dataset,
        **sizes,
        "epochs": state.results,
        "steps": state.history[-1]["steps"],
        "best_epoch": best.epoch,
        "val_loss": best.val_loss,
        "val_mean_iou": best.val.mean_iou,
        "val_accuracy": best.val.accuracy,
        "val_reading": smoothed([EpochResult.restore(**row).reading(recipe.keep) for row in state.history]).value,
    }
    yield Built(state.best, facts, recipe.normalisation, list(data.classes))


def _self_supervised(spec: StageSpec, parent: Artifact | None, context: ExecutionContext) -> StageSteps:
    """Train an encoder on a source's images without masks, and measure its quality before and after.

    The stem for small images is not part of the result: it fits neither other image sizes nor other architectures.
    """
    context.device.set_up()
    train_set, val_set = (image_set.without_masks() for image_set in source_sets(spec, context))
    recipe = PretrainingRecipe.of(spec.settings, _stage_normalisation(spec, parent, train_set))
    method = build_method(spec.stage.kind, _start_encoder(spec, parent), recipe, spec.seed)
    checkpoints = context.store.checkpoints(spec.key(parent.content_hash if parent else None))
    checkpoint = checkpoints.open() / CHECKPOINT_FILE
    state = start_pretraining(method, recipe, context.device, checkpoint, context.world)
    sizes = _sizes(spec, train_set, val_set)
    yield Started({"device": context.device.label, "dataset": train_set.data.dataset, **sizes, **state.facts})
    results = pretrain(
        state, train_set, val_set, recipe, seed=spec.seed, device=context.device, checkpoint=checkpoint, world=context.world
    )
    yield from saved(results, checkpoints, context.world)
    matched = state.history[-1]["contrastive_accuracy"] is not None
    encoder = state.model.network["encoder"]
    start = _start_encoder(spec, parent)
    unset = [layer for name, layer in layers_with_statistics(start).items() if parent is None or _absent(name, parent)]
    if unset:  # with statistics of 0 and 1 the features of random weights would be meaningless
        start.to(context.device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        set_statistics(start, unset, train_set, recipe.normalisation, spec.seed, context.device)
    facts = {
        "dataset": train_set.data.dataset,
        **sizes,
        "stem": spec.settings.get("stem", "usual"),
        "epochs": state.results,
        **{name: state.history[-1][name] for name in ("steps", "val_loss", "contrastive_accuracy")},
        "contrastive_chance": contrastive_chance(len(val_set), recipe.batch_size) if matched else None,
        **knn_facts(encoder, start, train_set, val_set, recipe.normalisation, context.device),
    }
    absent = resnet_stem(spec.model) if spec.settings.get("stem") == "small" else ()
    weights = {
        name: tensor.detach().to("cpu", copy=True) for name, tensor in encoder.state_dict().items() if not name.startswith(absent)
    }
    yield Built(weights, facts, recipe.normalisation, absent=absent)


def _absent(name: str, parent: Artifact) -> bool:
    """Return whether a stage does not provide a module of its encoder."""
    return f"{name}.".startswith(tuple(parent.metadata.get("absent", ())))


def _start_encoder(spec: StageSpec, parent: Artifact | None) -> nn.Module:
    """Return the encoder that self-supervised training starts from: that of the preceding stage, or random weights.

    Weights that the preceding stage does not provide are random.
    """
    encoder = build_encoder(spec.model, spec.seed)
    if parent is None:
        return use_small_stem(encoder, spec.model, spec.seed) if spec.settings.get("stem") == "small" else encoder
    if parent.metadata["encoder_only"]:
        random = {name: tensor for name, tensor in encoder.state_dict().items() if _absent(name, parent)}
        encoder.load_state_dict({**random, **load_weights(parent.folder / WEIGHTS_FILE)[0]})
        return encoder
    parent_model = build_model(parent.metadata["model"], UNUSED_CLASSES, spec.seed)
    load_source(parent_model, parent, "encoder")
    encoder.load_state_dict(parent_model.encoder.state_dict())
    return encoder


def _imagenet(spec: StageSpec, parent: Artifact | None, context: ExecutionContext) -> StageSteps:  # noqa: ARG001
    """Load published ImageNet weights of an encoder."""
    weights, facts = imagenet_encoder(spec.model, spec.stage.weights)
    yield Built(weights, facts, imagenet_normalisation(spec.model, spec.stage.weights))


def _coco_weights(spec: StageSpec, parent: Artifact | None, context: ExecutionContext) -> StageSteps:  # noqa: ARG001
    """Load published weights of a whole model, trained on COCO images with the classes of PASCAL VOC."""
    weights, classes, facts = coco_weights(spec.model)
    yield Built(weights, facts, coco_normalisation(spec.model), list(classes), COCO_WEIGHTS_IGNORED)


def _file(spec: StageSpec, parent: Artifact | None, context: ExecutionContext) -> StageSteps:  # noqa: ARG001
    """Load the weights of a whole model from a file: safetensors, or a `.pth` file that contains only tensors."""
    assert spec.stage.path is not None
    weights = read_weight_file(Path(spec.stage.path), spec.stage.prefix)
    classes = classes_of_weights(spec.data) if spec.data is not None else None
    yield Built(weights, {"dataset": spec.stage.path}, spec.stage.normalisation or IMAGENET, classes and list(classes))


STAGE_BUILDERS: Mapping[str, Callable[[StageSpec, Artifact | None, ExecutionContext], StageSteps]] = {
    "imagenet": _imagenet,
    "coco-weights": _coco_weights,
    "file": _file,
    "supervised": _supervised,
}

PUBLISHED_CHECKS: Mapping[str, Callable[[Stage, str], object]] = {  # raise `UserError` without weights for an architecture
    "imagenet": lambda stage, architecture: check_imagenet(encoder_name(architecture), stage.weights),
    "coco-weights": lambda _, architecture: check_coco_weights(architecture),
}


def check_stage(stage: Stage, architecture: str) -> None:
    """Raise `UserError` for a stage that cannot be built for an architecture."""
    if (check := PUBLISHED_CHECKS.get(stage.kind)) is not None:
        check(stage, architecture)


PUBLISHED: Mapping[str, Callable[[Stage, str], Published]] = {
    "imagenet": lambda stage, architecture: published_imagenet(encoder_name(architecture), stage.weights),
    "coco-weights": lambda _, architecture: published_coco(architecture),
}


def load_source(
    model: SegmentationModel,
    artifact: Artifact,
    scope: str,
    classes: Sequence[str] = (),
    class_map: Mapping[str, Sequence[str]] | None = None,
) -> TransferReport:
    """Transfer a stage's weights into a model, and return a report of the transferred weights.

    Args:
        model: Model that receives the weights.
        artifact: Artifact of the stage. If it contains an encoder only, the scope is always `encoder`.
        scope: Value of the setting `transfer`.
        classes: Classes of the model; with the scope `all`, rows of the last classifier move to these by name.
        class_map: Further source classes for a class of the model (`Target.class_map`).

    Raises:
        UserError: the weights do not fit the model.
    """
    weights, _ = load_weights(artifact.folder / WEIGHTS_FILE)
    metadata = artifact.metadata
    absent = [model.parts.encoder + name for name in metadata.get("absent", ())]
    if metadata["encoder_only"]:
        weights = {model.parts.encoder + name: tensor for name, tensor in weights.items()}
        scope = "encoder"
    mapped = None
    if scope == "all" and metadata.get("classes") is not None:
        mapped = map_classes(metadata["classes"], classes, class_map or {})
    if metadata.get("named_freely"):
        return load_file_weights(model, weights, scope, mapped)
    return transfer_weights(model, weights, scope, ignored=metadata.get("unused", ()), absent=absent, classes=mapped)
