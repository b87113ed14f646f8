"""The state of a training run, and its checkpoint: one safetensors file, replaced as a whole."""

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
    """What a training loop changes. All its weights are those of its `network`."""

    @property
    def network(self) -> nn.Module:
        """The network."""


AnyLearner = TypeVar("AnyLearner", bound=Learner)


@dataclass
class TrainingState(Generic[AnyLearner]):
    """All that training changes: the model, its optimiser, the results so far, and the weights that are kept of them.

    `history` holds every result since the start as plain values, so that a result whose report was lost is not. `average`
    is the exponential moving average of the weights, where there is one; it is what is evaluated and kept then. `best_result`
    is the number of the result with the best reading, `kept_result` of the one whose weights `best` holds; they differ where the
    last epoch is kept. `lost_checkpoint` says what is wrong with the checkpoint from which it should have gone on, None where
    nothing is; the state is a fresh one then.
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
        """The model whose numbers count: the average where there is one."""
        return self.model if self.average is None else cast(AnyLearner, self.average.module)

    @property
    def facts(self) -> dict[str, Any]:
        """Columns of the record that say how training began."""
        return {} if self.lost_checkpoint is None else {"note": f"started afresh: {self.lost_checkpoint}"}

    @property
    def results(self) -> int:
        """How many results there are."""
        return len(self.history)

    def read(self, found: Reading) -> None:
        """Take the reading of the newest result."""
        if found > self.best_reading:
            self.best_reading, self.best_result = found, self.results

    def keep(self) -> None:
        """Keep the current weights, as those of the newest result."""
        self.kept_result = self.results
        weights = self.evaluated.network.state_dict()
        self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def moving_average(model: SegmentationModel, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's weights and statistics, at a decay per optimiser step.

    The decay rises with the number n of steps so far, min(decay, (1 + n) / (10 + n)), so that a short run does not keep the
    weights that it began with; TensorFlow's `ExponentialMovingAverage` does the same when it is given `num_updates`.
    Whole numbers, as the tables of indices that some networks hold, are copied.
    """

    def move(averaged: Tensors, current: Tensors, _: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            number = int(average.n_averaged)  # on the CPU; the copy of it that torch hands over is on the GPU, which would wait
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + number) / (10 + number)))
        else:
            torch._foreach_copy_(averaged, current)

    average = AveragedModel(model, multi_avg_fn=move, use_buffers=True)
    return average


def save_checkpoint(state: TrainingState[Any], path: Path) -> None:
    """Write the state, so that a reader sees the old file or the new one, never a part, and after a power cut, too.

    A checksum of all tensors and of the progress lies in the file.
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
    """Bring a freshly built state to where a checkpoint left off. Returns False where there is no whole checkpoint.

    `state.lost_checkpoint` then says what is wrong with the one that is there. Raises `SafetensorError` where the disk cannot
    be read, so that the driver waits for it.
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
    for parameter, held in state.optimizer.state.items():  # channels last as the parameter, which safetensors does not keep
        held |= {slot: torch.empty_like(parameter).copy_(value) for slot, value in held.items() if value.dim() == 4}
    progress = json.loads(metadata["progress"])
    for name in PROGRESS:
        setattr(state, name, progress[name])
    state.best_reading = Reading(*progress["best_reading"])
    return True


class _DamageError(Exception):
    """What is wrong with a checkpoint."""


def damage_of(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, None where nothing is. Raises `FileNotFoundError` where there is none."""
    try:
        _read_checked(path)
    except _DamageError as error:
        return str(error)
    return None


def _read_checked(path: Path) -> tuple[Weights, dict[str, str]]:
    """Return the tensors and the metadata of a checkpoint. Raises `_DamageError`; those of earlier versions have no checksum."""
    try:
        tensors, metadata = load_weights(path)
    except SafetensorError as error:
        if "os error" in str(error):  # the disk's, not the file's
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
    """Write tensors to a safetensors file by rename."""
    with replacing(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary, metadata)


def load_weights(path: Path) -> tuple[Weights, dict[str, str]]:
    """Return the tensors (on the CPU) and the metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors with their names, types and shapes; they may be on any device."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
