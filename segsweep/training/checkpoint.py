"""The state of a training run, and its checkpoint: one safetensors file that is replaced atomically."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from segsweep.config.keep import Reading
from segsweep.files import replacing
from segsweep.models.segmentation_model import SegmentationModel

Weights = dict[str, Tensor]
Tensors = tuple[Tensor, ...] | list[Tensor]
MODEL, BEST, OPTIMIZER, AVERAGE = "model.", "best.", "optimizer.", "average."
OTHER_BYTES = "has other bytes than were written"
PROGRESS = ("history", "best_reading", "best_result", "kept_result")
NOTHING_READ = Reading(float("-inf"), float("-inf"))


class Learner(Protocol):
    """An object that a training loop trains. Its `network` holds all its weights."""

    @property
    def network(self) -> nn.Module:
        """The network that holds all weights."""


AnyLearner = TypeVar("AnyLearner", bound=Learner)


@dataclass
class TrainingState(Generic[AnyLearner]):
    """The state that training changes: the model, its optimiser, the results so far, and the kept weights.

    `history` holds every result since the start as plain values, so that a lost report does not lose a result. `average` is the
    exponential moving average of the weights, or None; if there is one, it is evaluated and kept instead of the weights.
    `best_result` is the number of the result with the best reading, `kept_result` that of the result whose weights `best` holds;
    they differ if the recipe keeps the last epoch. `lost_checkpoint` describes the damage of the checkpoint from which the run
    should have resumed, in which case the state is a fresh one; None if the checkpoint is sound or missing.
    """

    model: AnyLearner
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    best_reading: Reading = NOTHING_READ
    best_result: int = 0
    kept_result: int = 0
    best: Weights = field(default_factory=dict)
    lost_checkpoint: str | None = None

    @property
    def evaluated(self) -> AnyLearner:
        """The model that is evaluated and kept: the moving average if there is one."""
        return self.model if self.average is None else cast(AnyLearner, self.average.module)

    @property
    def facts(self) -> dict[str, Any]:
        """Columns of the record about the start of training: a note if a checkpoint was lost."""
        return {} if self.lost_checkpoint is None else {"note": f"started from scratch: {self.lost_checkpoint}"}

    @property
    def results(self) -> int:
        """The number of results so far."""
        return len(self.history)

    def read(self, found: Reading) -> None:
        """Record the reading of the newest result; it becomes the best if it is better than all earlier ones."""
        if found > self.best_reading:
            self.best_reading, self.best_result = found, self.results

    def keep(self) -> None:
        """Copy the current weights to `best`, as those of the newest result."""
        self.kept_result = self.results
        weights = self.evaluated.network.state_dict()
        self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def moving_average(model: SegmentationModel, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's weights and statistics, with a decay per optimiser step.

    The decay rises with the number n of steps so far, min(decay, (1 + n) / (10 + n)), so that the average of a short run is not
    dominated by the initial weights. TensorFlow's `ExponentialMovingAverage` does the same with `num_updates`. Integer tensors,
    such as the index tables of some networks, are copied, not averaged.
    """

    def move(averaged: Tensors, current: Tensors, _: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            number = int(average.n_averaged)  # on the CPU; torch's argument is a copy on the GPU, whose reading would wait for it
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + number) / (10 + number)))
        else:
            torch._foreach_copy_(averaged, current)

    average = AveragedModel(model, multi_avg_fn=move, use_buffers=True)
    return average


def save_checkpoint(state: TrainingState[Any], path: Path) -> None:
    """Write the state atomically: a reader sees the old file or the new one, never a part, even after a power cut.

    The file holds a checksum of all tensors and of the progress.
    """
    tensors = {MODEL + name: tensor for name, tensor in state.model.network.state_dict().items()}
    tensors |= {BEST + name: tensor for name, tensor in state.best.items()}
    if state.average is not None:
        tensors |= {AVERAGE + name: tensor for name, tensor in state.average.state_dict().items()}
    for position, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{position}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    progress = json.dumps({name: getattr(state, name) for name in PROGRESS})
    save_weights(tensors, path, {"progress": progress, "sha256": _checksum(tensors, progress)})


def load_checkpoint(state: TrainingState[Any], path: Path) -> bool:
    """Load a checkpoint into a freshly built state. Return False, and leave the state, if the checkpoint is missing or damaged.

    `state.lost_checkpoint` then describes the damage. Raises `SafetensorError` if the disk cannot be read, so that the driver
    waits for the disk.
    """
    try:
        tensors, metadata = _read_checked(path)
    except FileNotFoundError:
        return False
    except _DamageError as error:
        state.lost_checkpoint = f"checkpoint {path.name} {error}"
        return False
    state.model.network.load_state_dict(_under(MODEL, tensors))
    state.best = _under(BEST, tensors)
    if state.average is not None:
        state.average.load_state_dict(_under(AVERAGE, tensors))
    slots: dict[int, Weights] = {}
    for name, tensor in _under(OPTIMIZER, tensors).items():
        position, _, slot = name.partition(".")
        slots.setdefault(int(position), {})[slot] = tensor
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    for parameter, slot_values in state.optimizer.state.items():  # safetensors loses the channels-last format of the parameter
        slot_values |= {slot: torch.empty_like(parameter).copy_(value) for slot, value in slot_values.items() if value.dim() == 4}
    progress = json.loads(metadata["progress"])
    for name in PROGRESS:
        setattr(state, name, progress[name])
    state.best_reading = Reading(*progress["best_reading"])
    return True


class _DamageError(Exception):
    """A checkpoint is damaged; the message describes how."""


def damage_of(path: Path) -> str | None:
    """Return a description of a checkpoint's damage; None if it is sound. Raises `FileNotFoundError` if it is missing."""
    try:
        _read_checked(path)
    except _DamageError as error:
        return str(error)
    return None


def _read_checked(path: Path) -> tuple[Weights, dict[str, str]]:
    """Return the tensors and the metadata of a checkpoint. Raises `_DamageError`.

    Checkpoints of earlier versions have no checksum and are accepted without.
    """
    try:
        tensors, metadata = load_weights(path)
    except SafetensorError as error:
        if "os error" in str(error):  # an error of the disk, not of the file
            raise
        raise _DamageError("is cut short, or is no checkpoint") from None
    known = set(metadata) in ({"progress"}, {"progress", "sha256"})
    if not known or metadata.get("sha256") not in (None, _checksum(tensors, metadata["progress"])):
        raise _DamageError(OTHER_BYTES)
    return tensors, metadata


def _checksum(tensors: Weights, progress: str) -> str:
    return hashlib.sha256(f"{weights_digest(tensors)} {progress}".encode()).hexdigest()


def _under(prefix: str, tensors: Weights) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_weights(weights: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write named tensors of any shape to a safetensors file atomically, with optional metadata."""
    with replacing(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary, metadata)


def load_weights(path: Path) -> tuple[Weights, dict[str, str]]:
    """Return the tensors by name, on the CPU, and the metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, in hexadecimal, of tensors on any device with their names, dtypes and shapes."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
