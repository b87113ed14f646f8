"""Building a stage: weights in the store, from data or from published files. The seam: no Ray in here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from segsweep.config.source import Stage
from segsweep.config.work import StageSpec
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source
from segsweep.errors import UserError, unknown
from segsweep.models.architectures import build_model
from segsweep.models.class_map import map_classes
from segsweep.models.encoder_name import encoder_name
from segsweep.models.published import (
    COCO_WEIGHTS_IGNORED,
    check_coco_weights,
    check_imagenet,
    coco_weights,
    imagenet_encoder,
)
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.models.transfer import TransferReport, transfer_weights
from segsweep.models.weight_names import by_network_names
from segsweep.store.folder import Artifact, Build, Store, TakenError
from segsweep.training.batches import PictureSet
from segsweep.training.checkpoint import Weights, load_weights, save_weights
from segsweep.training.loop import EpochResult, best_result, start_state, train
from segsweep.training.recipe import Recipe
from segsweep.workplace import Workplace

WEIGHTS = "weights.safetensors"
KIND = "weights"
LAST = "last.safetensors"


@dataclass(frozen=True)
class Started:
    """What is known of a stage or a trial before its first epoch, as columns of its record."""

    facts: Mapping[str, Any]


@dataclass(frozen=True)
class StageOutcome:
    """A stage that is in the store. `facts` are columns of its record."""

    artifact: Artifact
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Elsewhere:
    """A stage that another process is building right now: nothing was done; look for it in the store later."""


@dataclass(frozen=True)
class Built:
    """What a stage gives: weights by the network's own names, and facts for its record.

    `classes` are those that the last classifier tells apart, None where there is none or nobody knows; `unused` is how the
    names of weights begin that belong to no part of the model.
    """

    weights: Weights
    facts: Mapping[str, Any]
    classes: Sequence[str] | None = None
    unused: Sequence[str] = ()


StageSteps = Iterator[Started | EpochResult | Built]


def build_stage(
    spec: StageSpec, parent_key: str | None, place: Workplace
) -> Iterator[Started | EpochResult | StageOutcome | Elsewhere]:
    """Build one stage from the one before it, yielding a result per epoch and at last the outcome.

    `parent_key` is the key of the stage that it starts from. A stage that is in the store yields its outcome at once; one
    that another process builds now yields `Elsewhere` and is left alone; one that was broken off continues from its last
    epoch. Raises `UserError` for published weights and files that cannot be had.
    """
    parent = place.store.find(KIND, parent_key) if parent_key else None
    assert (parent is None) == (spec.parent is None)
    key, world = spec.key(parent.content_hash if parent else None), place.world
    with _only_builder(key, place) as build:
        if world.agree(build is None):
            yield Elsewhere()
            return
        if world.agree(build is not None and build.found is None):
            for step in STAGE_BUILDERS[spec.stage.kind](spec, parent, place):
                if isinstance(step, Started | EpochResult):
                    yield step
                elif build is not None:
                    save_weights(step.weights, build.folder / WEIGHTS)
                    build.commit(
                        {
                            "stage": spec.name,
                            "model": spec.model,
                            "encoder_only": spec.encoder_only,
                            "classes": step.classes,
                            "unused": step.unused,
                            "named_freely": spec.stage.kind == "file",
                            "facts": step.facts,
                        }
                    )
        found = world.agree(build.found if build else None)
        assert found is not None
        if world.main:
            place.store.clear_workspace(key)
        yield StageOutcome(found, dict(found.metadata["facts"]))


@contextmanager
def _only_builder(key: str, place: Workplace) -> Iterator[Build | None]:
    """Give the main process of a world the building of a stage, or None where another has it, and all others None."""
    if not place.world.main:
        yield None
        return
    with ExitStack() as held:
        try:
            build = held.enter_context(place.store.building(KIND, key, wait=False))
        except TakenError:
            build = None
        yield build


def _supervised(spec: StageSpec, parent: Artifact | None, place: Workplace) -> StageSteps:
    """Train a whole model for segmentation on a source; the epoch with the lowest validation loss is kept."""
    assert spec.data is not None
    place.device.apply_threads()
    data = Prepared.open(place.store.folder("data", spec.data))
    split = split_source(data, spec.stage.limit, spec.seed, spec.settings.get("split", "official"))
    train_set, val_set = (PictureSet(data, part).first(place.max_pictures) for part in (split.train, split.val))
    model = build_model(spec.model, len(data.classes), spec.seed)
    if parent is not None:
        load_source(model, parent, "all-but-classifier", place.store)
    recipe = Recipe.of(spec.settings)
    checkpoint = place.store.workspace(spec.key(parent.content_hash if parent else None)) / LAST
    state = start_state(model, recipe, place.device, checkpoint, place.world)
    sizes = {"train_images": len(train_set), "val_images": len(val_set), "classes": len(data.classes)}
    yield Started({"device": place.device.label, "dataset": data.dataset, **sizes})
    yield from train(
        state, train_set, val_set, recipe, seed=spec.seed, device=place.device, checkpoint=checkpoint, world=place.world
    )
    best = best_result(state)
    facts = {
        "dataset": data.dataset,
        **sizes,
        "epochs": state.results,
        "best_epoch": best.epoch,
        "val_loss": best.val_loss,
        "val_mean_iou": best.val.mean_iou,
        "val_accuracy": best.val.accuracy,
    }
    yield Built(state.best, facts, list(data.classes))


def _imagenet(spec: StageSpec, parent: Artifact | None, place: Workplace) -> StageSteps:  # noqa: ARG001
    """Take published ImageNet weights for an encoder."""
    yield Built(*imagenet_encoder(spec.model, spec.stage.name))


def _coco_weights(spec: StageSpec, parent: Artifact | None, place: Workplace) -> StageSteps:  # noqa: ARG001
    """Take published weights of a whole model, trained on COCO pictures with PASCAL VOC's classes."""
    weights, classes, facts = coco_weights(spec.model)
    yield Built(weights, facts, list(classes), COCO_WEIGHTS_IGNORED)


def _file(spec: StageSpec, parent: Artifact | None, place: Workplace) -> StageSteps:  # noqa: ARG001
    """Take a whole model's weights from a file, safetensors or a `.pth` of tensors alone."""
    assert spec.stage.name is not None
    yield Built(read_weight_file(Path(spec.stage.name)), {"dataset": spec.stage.name})


STAGE_BUILDERS: Mapping[str, Callable[[StageSpec, Artifact | None, Workplace], StageSteps]] = {
    "imagenet": _imagenet,
    "coco-weights": _coco_weights,
    "file": _file,
    "supervised": _supervised,
}


def check_stage(stage: Stage, architecture: str) -> None:
    """Raise `UserError` for a stage that cannot be built for an architecture."""
    if stage.kind not in STAGE_BUILDERS:
        raise unknown("source stage", stage.kind, ["random", *STAGE_BUILDERS])
    if stage.kind == "imagenet":
        check_imagenet(encoder_name(architecture), stage.name)
    if stage.kind == "coco-weights":
        check_coco_weights(architecture)


def read_weight_file(path: Path) -> Weights:
    """Return the tensors of a weight file. Nothing is unpickled but tensors. Raises `UserError` that names the file."""
    try:
        if path.suffix == ".safetensors":
            return load_weights(path)[0]
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"source file:{path}: file is missing") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"source file:{path}: cannot be read: {error}") from None
    except Exception as error:  # whatever unpickling raises; its long advice is to unpickle freely
        raise UserError(
            f"source file:{path}: is cut short, is no weight file, or holds more than tensors ({type(error).__name__})"
        ) from None
    while isinstance(content, dict) and len(inner := [content[k] for k in ("state_dict", "model") if k in content]) == 1:
        content = inner[0]
    if not isinstance(content, dict) or not content or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"source file:{path}: holds no table of tensors")
    return {str(name): tensor.clone() for name, tensor in content.items()}  # some share memory, which safetensors refuses


def file_scope(model: SegmentationModel, weights: Mapping[str, torch.Tensor], scope: str) -> str:
    """Return what a file can give of what is asked for: its encoder alone, where nothing else of the model is in it."""
    beside = (name for name in model.network.state_dict() if not name.startswith(model.parts.encoder))
    return scope if any(name in weights for name in beside) else "encoder"


def check_file(path: Path, model: SegmentationModel, scope: str) -> None:
    """Raise `UserError` where a weight file is none, or is not one of this model. The model may be without numbers."""
    weights = by_network_names(model, {name: tensor.to("meta") for name, tensor in read_weight_file(path).items()})
    transfer_weights(model.to("meta"), weights, file_scope(model, weights, scope))


def load_source(
    model: SegmentationModel,
    artifact: Artifact,
    scope: str,
    store: Store,
    classes: Sequence[str] = (),
    class_map: Mapping[str, Sequence[str]] | None = None,
) -> TransferReport:
    """Move a stage's weights into a model; an artifact of an encoder alone gives its encoder. Checks the artifact's bytes.

    With the scope `all`, the rows of the last classifier go to the model's `classes` by name, and as `class_map` says.
    """
    store.verify(artifact)
    weights, _ = load_weights(artifact.folder / WEIGHTS)
    told = artifact.metadata
    if told["encoder_only"]:
        weights = {model.parts.encoder + name: tensor for name, tensor in weights.items()}
        scope = "encoder"
    elif told.get("named_freely"):
        weights = by_network_names(model, weights)
        scope = file_scope(model, weights, scope)
    mapped = None
    if scope == "all" and told.get("classes") is not None:
        mapped = map_classes(told["classes"], classes, class_map or {})
    return transfer_weights(model, weights, scope, ignored=told.get("unused", ()), classes=mapped)
