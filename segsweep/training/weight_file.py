"""Weight files of users, for the source `file:PATH`. Only tensors and plain values are unpickled."""

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from segsweep.errors import UserError
from segsweep.models.class_map import ClassMap
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.models.transfer import TransferReport, transfer_weights
from segsweep.models.weight_names import NamedWeights, by_network_names
from segsweep.training.checkpoint import Weights, load_weights

PREFIXES_SHOWN = 8


def read_weight_file(path: Path, prefix: str | None = None) -> Weights:
    """Return the tensors of a weight file by name; with a `prefix`, only those below it, with the prefix removed.

    A `.pth` file may hold nested dictionaries: their keys are joined by dots, except that if only one dictionary holds tensors,
    the names are its keys. Only tensors and plain values are unpickled. Raises `UserError`, which names the file, if it is
    missing, unreadable, or without tensors, or if no name starts with the prefix.
    """
    tables = dict(_tables(_content(path)))
    if not tables:
        raise UserError(f"source file:{path}: holds no dictionary of tensors")
    joined = {f"{table}{name}": tensor for table, tensors in tables.items() for name, tensor in tensors.items()}
    weights = joined if len(tables) > 1 else next(iter(tables.values()))
    if prefix is not None:
        weights = _below(prefix, joined) or _below(prefix, weights)
        if not weights:
            tops = list(dict.fromkeys(name.partition(".")[0] for name in joined))
            more = " ..." if len(tops) > PREFIXES_SHOWN else ""
            raise UserError(
                f"source file:{path}: no name begins with {prefix!r}; names begin with {', '.join(tops[:PREFIXES_SHOWN])}{more}"
            )
    return {name: tensor.clone() for name, tensor in weights.items()}  # safetensors refuses tensors that share memory


def _content(path: Path) -> Any:
    """Return the content of a file: plain values and tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_weights(path)[0]
        with torch.serialization.safe_globals([argparse.Namespace]):  # holds plain values; many projects save their options in it
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"source file:{path}: file is missing") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"source file:{path}: cannot be read: {error}") from None
    except Exception as error:  # unpickling may raise anything; torch's long message advises to unpickle without restriction
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = named[1] if named else type(error).__name__
        raise UserError(
            f"source file:{path}: is cut short, is not a weight file, or holds more than tensors ({reason})"
        ) from None


def _tables(content: Any, path: str = "") -> Iterator[tuple[str, Weights]]:
    """Yield the nested dictionaries that hold tensors, with the path of keys to each, which ends with a dot.

    Dictionaries with keys other than strings are skipped: they hold an optimiser's state by parameter number.
    """
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    for name, value in content.items():
        yield from _tables(value, f"{path}{name}.")


def _below(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    start = prefix.rstrip(".") + "."
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}


def file_scope(weights: NamedWeights, scope: str) -> str:
    """Return the transfer that a file allows: `scope`, or `encoder` if the file holds no other part of the model."""
    return scope if weights.beyond_encoder else "encoder"


def load_file_weights(
    model: SegmentationModel, weights: Mapping[str, Tensor], scope: str, classes: ClassMap | None = None
) -> TransferReport:
    """Load the weights of a file into a model, under any known naming scheme, and return a report of the transfer.

    `weights` holds tensors by the file's names, in the shapes of the model's weights: (out, in, kernel, kernel) for convolutions.
    `classes` maps the rows of the last classifier if the file's classes are known, as in `transfer_weights`. Raises `UserError`,
    with names of both sides, for weights of another model.
    """
    named = by_network_names(model, weights)
    device = next(model.parameters()).device
    moved = {name: tensor.to(device) for name, tensor in named.items()}
    scope = file_scope(named, scope)
    return transfer_weights(model, moved, scope, ignored=named.outside, classes=classes, origin=named.origin, prefix=named.prefix)


def check_file(
    path: Path, model: SegmentationModel, scope: str, prefix: str | None = None, classes: ClassMap | None = None
) -> None:
    """Raise `UserError` unless a file is a weight file of this model. The model is moved to the meta device."""
    weights = read_weight_file(path, prefix)
    try:
        load_file_weights(model.to("meta"), weights, scope, classes)
    except UserError as error:
        raise UserError(f"source file:{path}: {error}") from None
