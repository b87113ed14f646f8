"""Files of weights that a user brings: reading them without unpickling anything but tensors."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError

from segsweep.errors import UserError
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.models.transfer import transfer_weights
from segsweep.models.weight_names import by_network_names
from segsweep.training.checkpoint import Weights, load_weights


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
