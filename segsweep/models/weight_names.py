"""Matching the names of a weight file with a model's names, for any prefix and any known publisher of the encoder.

A file is one table of dotted names. The weights of a network are those under one common prefix: `module.`, `state_dict.`,
`encoder_q.` or any other. After the prefix, they have the names of the whole network or, in a file of an encoder only, those of
the encoder: its own, its publisher's, or the numbers of its children. A name is inside the encoder if it shares a top-level
module with the encoder's names; the encoder must have every name inside. Other names are outside, and are reported.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from segsweep.errors import UserError
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.models.smp_models import publisher_names

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # in torchvision's files of 2017
COUNTER = ".num_batches_tracked"  # of normalisation layers, missing in files of 2017
COMPUTED = (".relative_position_index", ".relative_coords_table", ".attn_mask")  # tables that networks compute when built
AUXILIARY = ("aux_classifier.", "auxiliary_head.", "classification_head.")  # heads for training only: torchvision, mmseg, smp
NOT_EVALUATED = ("encoder_k", "momentum", "student")  # MoCo evaluates its query encoder, BYOL the online one, DINO its teacher


class NamedWeights(dict[str, Tensor]):
    """The weights of a file by the names of a network; weights outside the network by the file's names.

    `prefix` is the prefix of the network's names in the file. `outside` are names of the file that belong to no part of the
    model. `beyond_encoder` states whether the file holds more of the model than its encoder. `origin` maps each network name to
    the file's name.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], prefix: str, outside: Sequence[str], beyond_encoder: bool, origin: Mapping[str, str]
    ) -> None:
        super().__init__(weights)
        self.prefix, self.outside, self.beyond_encoder, self.origin = prefix, tuple(outside), beyond_encoder, origin


@dataclass(frozen=True)
class _Naming:
    """One way to name a model's weights in a file: `table` maps a name in the file to the network's name.

    `left_out` are names that the publisher's network has and the model's encoder lacks.
    """

    table: Mapping[str, str]
    of_network: bool = False
    left_out: frozenset[str] = frozenset()

    def tops(self) -> set[str]:
        return set(map(_top, self.table))


@dataclass(frozen=True)
class _Reading:
    """A naming with a prefix: `found` of its names are in the file, `fitting` of them with the model's shape."""

    naming: _Naming
    prefix: str
    fitting: int
    found: int
    names: Mapping[str, str] = field(default_factory=dict)  # the network's name -> the file's


def modern_name(name: str) -> str:
    """Return the current name of a layer of torchvision's DenseNets; other names are returned unchanged."""
    return OLD_DENSENET.sub(r"\1\2", name)


def by_network_names(model: SegmentationModel, weights: Mapping[str, Tensor]) -> NamedWeights:
    """Return the weights of a file by the names of `model.network`.

    Tensors keep their shapes, such as (out, in, kernel, kernel) for a convolution. A name inside the model that the model lacks
    is kept, so that the transfer refuses it. Counters of normalisation layers are set to zero if the file has none at all. Raises
    `UserError` for a file with several different networks that all fit.
    """
    model_state = model.network.state_dict()
    files = {modern_name(name): name for name in weights}
    shapes = {name: tuple(weights[original].shape) for name, original in files.items()}
    reading = _choose(_readings(model, model_state, shapes), model, model_state, {name: weights[files[name]] for name in files})
    if reading is None:
        return NamedWeights(weights, "", (), beyond_encoder=True, origin={})
    rests = {name: name.removeprefix(reading.prefix) for name in files if name.startswith(reading.prefix)}
    beyond_encoder = reading.naming.of_network and _is_beyond_encoder(model, model_state, rests.values())
    file_names, outside = {}, []
    for name, original in files.items():
        network_name = _network_name(rests[name], reading.naming, model, beyond_encoder) if name in rests else None
        if network_name is None:
            outside.append(original)
        else:
            file_names[network_name] = original
    named = {name: weights[original] for name, original in file_names.items()}
    beside = {name: weights[name] for name in outside if name not in named}
    if not any(name.endswith(COUNTER) for name in rests):
        named |= _counters(model_state, reading.naming.table.values())
    return NamedWeights({**named, **beside}, reading.prefix, outside, beyond_encoder, file_names)


def _counters(model_state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(model_state[name], device="cpu") for name in names if name.endswith(COUNTER)}


def _namings(model: SegmentationModel, model_state: Mapping[str, Tensor]) -> Iterator[_Naming]:
    """Yield the namings that a file may use for this model's weights, the most likely first."""
    prefix = model.parts.encoder
    inner = {name.removeprefix(prefix): name for name in model_state if name.startswith(prefix)}
    yield _Naming({name: name for name in model_state}, of_network=True)
    yield _Naming(inner)
    if (publisher := publisher_names(model.encoder)) is not None:
        table = {name: prefix + here for name, here in publisher.items() if here is not None}
        yield _Naming(table, left_out=frozenset(name for name, here in publisher.items() if here is None))
        yield _Naming({name.removeprefix("model."): here for name, here in inner.items()})  # timm's own features-only form
    numbers = {name: str(number) for number, (name, _) in enumerate(model.encoder.named_children())}
    split = {name: name.partition(".") for name in inner}
    yield _Naming({f"{numbers[top]}.{rest}": inner[name] for name, (top, _, rest) in split.items() if top in numbers})


def _readings(
    model: SegmentationModel, model_state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> list[_Reading]:
    """Return every combination of a naming and a prefix under which the file has some names."""
    readings = []
    for naming in _namings(model, model_state):
        found: dict[str, dict[str, str]] = {}
        for name in shapes:
            for prefix in _prefixes(name):
                if (network_name := naming.table.get(name.removeprefix(prefix))) is not None:
                    found.setdefault(prefix, {})[network_name] = name
        for prefix, names in found.items():
            fitting = sum(tuple(model_state[network_name].shape) == shapes[name] for network_name, name in names.items())
            readings.append(_Reading(naming, prefix, fitting, len(names), names))
    return readings


def _prefixes(name: str) -> Iterator[str]:
    yield ""
    for match in re.finditer(r"\.", name):
        yield name[: match.end()]


def _choose(
    readings: Sequence[_Reading], model: SegmentationModel, model_state: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> _Reading | None:
    """Return the reading that fits best; None if the file has no name of the model.

    If several networks of one file fit completely, the one without a prefix is preferred, then the one that its method evaluates
    (see `NOT_EVALUATED`). Raises `UserError` if several different networks remain.
    """
    if not readings:
        return None
    best = max(readings, key=lambda reading: (reading.fitting, reading.found))  # the first of equal ones
    wanted = [name for name in model_state if name.startswith(model.parts.encoder) and not name.endswith(COUNTER)]
    fitting = [
        reading
        for reading in readings
        if all(name in reading.names and weights[reading.names[name]].shape == model_state[name].shape for name in wanted)
    ]
    rivals = [reading for reading in fitting if _differ(reading, best, wanted, weights)]
    if best not in fitting or not rivals:
        return best
    several = [best, *rivals]
    leading = [reading for reading in several if not reading.prefix] or [
        reading for reading in several if not any(word in reading.prefix for word in NOT_EVALUATED)
    ]
    if leading and not any(_differ(reading, leading[0], wanted, weights) for reading in leading):
        return max(leading, key=lambda reading: (reading.fitting, reading.found))
    names = ", ".join(sorted({repr(reading.prefix.rstrip(".")) for reading in several}))
    raise UserError(f"holds several networks that fit, under {names}; choose one: file:PATH@prefix=NAME")


def _differ(one: _Reading, other: _Reading, names: Sequence[str], weights: Mapping[str, Tensor]) -> bool:
    pairs = ((one.names[name], other.names.get(name)) for name in names)
    return any(a != b and (b is None or not torch.equal(weights[a], weights[b])) for a, b in pairs)


def _is_beyond_encoder(model: SegmentationModel, model_state: Mapping[str, Tensor], names: Iterable[str]) -> bool:
    """Return whether names of a file, after its prefix, cover more of the model than its encoder."""
    beside = {_top(name) for name in model_state if not name.startswith(model.parts.encoder)}
    return any(_top(name) in beside and not name.startswith(model.parts.encoder) for name in names)


def _network_name(name: str, naming: _Naming, model: SegmentationModel, beyond_encoder: bool) -> str | None:
    """Return the network's name of a weight, or the name that it would have inside the model; None for a name outside."""
    if name in naming.table:
        return naming.table[name]
    if name in naming.left_out or name.endswith(COMPUTED):
        return None
    prefix = model.parts.encoder
    if not naming.of_network:
        return prefix + name if _top(name) in naming.tops() else None
    if not name.startswith(prefix):
        return name if beyond_encoder and not name.startswith(AUXILIARY) else None
    inner = {_top(here.removeprefix(prefix)) for here in naming.table if here.startswith(prefix)}
    return name if _top(name.removeprefix(prefix)) in inner else None


def _top(name: str) -> str:
    """Return the top-level module of a name; all numbered modules count as one, since they are parts of one sequence."""
    top = name.partition(".")[0]
    return "0" if top.isdecimal() else top
