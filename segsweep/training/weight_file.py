"""Files of weights that a user brings: reading them without unpickling anything but tensors and plain values."""

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

BEGINNINGS_SHOWN = 8


def read_weight_file(path: Path, prefix: str | None = None) -> Weights:
    """Return the tensors of a weight file by their names; below a `prefix` alone, without it, where one is given.

    A `.pth` may hold tables within tables: their names are joined by dots, and where only one table holds tensors, the names
    are that table's. Nothing is unpickled but tensors and plain values. Raises `UserError` that names the file.
    """
    tables = dict(_tables(_content(path)))
    if not tables:
        raise UserError(f"source file:{path}: holds no table of tensors")
    joined = {f"{table}{name}": tensor for table, tensors in tables.items() for name, tensor in tensors.items()}
    weights = joined if len(tables) > 1 else next(iter(tables.values()))
    if prefix is not None:
        weights = _below(prefix, joined) or _below(prefix, weights)
        if not weights:
            tops = list(dict.fromkeys(name.partition(".")[0] for name in joined))
            more = " ..." if len(tops) > BEGINNINGS_SHOWN else ""
            raise UserError(
                f"source file:{path}: no name begins with {prefix!r}; they begin with {', '.join(tops[:BEGINNINGS_SHOWN])}{more}"
            )
    return {name: tensor.clone() for name, tensor in weights.items()}  # some share memory, which safetensors refuses


def _content(path: Path) -> Any:
    """Return what a file holds, as plain values and tensors."""
    try:
        if path.suffix == ".safetensors":
            return load_weights(path)[0]
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain values by name; many projects keep options so
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"source file:{path}: file is missing") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"source file:{path}: cannot be read: {error}") from None
    except Exception as error:  # whatever unpickling raises; its long advice is to unpickle freely
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = named[1] if named else type(error).__name__
        raise UserError(f"source file:{path}: is cut short, is no weight file, or holds more than tensors ({reason})") from None


def _tables(content: Any, path: str = "") -> Iterator[tuple[str, Weights]]:
    """Yield the tables that hold tensors, by where they are, a dot at its end; others hold an optimiser's state by number."""
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
    """Return what a file can give of what is asked for: its encoder alone, where nothing else of the model is in it."""
    return scope if weights.beyond_encoder else "encoder"


def load_file_weights(
    model: SegmentationModel, weights: Mapping[str, Tensor], scope: str, classes: ClassMap | None = None
) -> TransferReport:
    """Load the weights of a file into a model, whatever the file calls them, and report what was done.

    `classes` maps the last classifier's rows where the file's classes are known, as in `transfer_weights`. Raises `UserError`
    for weights that are not this model's, with names of both sides.
    """
    named = by_network_names(model, weights)
    device = next(model.parameters()).device
    moved = {name: tensor.to(device) for name, tensor in named.items()}
    scope = file_scope(named, scope)
    return transfer_weights(model, moved, scope, ignored=named.outside, classes=classes, origin=named.origin, prefix=named.prefix)


def check_file(
    path: Path, model: SegmentationModel, scope: str, prefix: str | None = None, classes: ClassMap | None = None
) -> None:
    """Raise `UserError` where a weight file is none, or is not one of this model. The model may be without numbers."""
    weights = read_weight_file(path, prefix)
    try:
        load_file_weights(model.to("meta"), weights, scope, classes)
    except UserError as error:
        raise UserError(f"source file:{path}: {error}") from None
