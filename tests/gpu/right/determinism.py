"""Twice the same: exactly with deterministic algorithms of torch, closely without; which operations have no such algorithm."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpu.drawn import draw_sets
from gpu.place import Place
from gpu.rows import Row, holds, note
from gpu.runs import Run, largest_difference, recipe_of

SETTINGS = (  # architecture, loss, augmentation, precision
    ("unet16", "cross_entropy", "flip", "float32"),
    ("unet16", "dice", "flip", "bfloat16"),
    ("unet16", "lovasz", "crop_flip_jitter", "bfloat16"),
    ("unet-mobilenet_v2", "focal", "rotate_flip_jitter_blur", "bfloat16"),
    ("unet-resnet50", "cross_entropy", "flip", "bfloat16"),
    ("deeplabv3-resnet50", "cross_entropy", "flip", "bfloat16"),
    ("deeplabv3plus-mobilenet_v2", "cross_entropy", "flip", "bfloat16"),
    ("denseaspp-densenet121", "cross_entropy", "flip", "bfloat16"),
)


@contextmanager
def deterministic(warn_only: bool) -> Iterator[None]:
    """Have torch use deterministic algorithms; what has none warns or raises."""
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def operations(place: Place) -> Iterator[Row]:
    """Which operations of a run have no deterministic algorithm on this device, by setting."""
    for setting in place.size(SETTINGS, SETTINGS[:1]):
        with warnings.catch_warnings(record=True) as caught, deterministic(warn_only=True):
            warnings.simplefilter("always")
            _go(place, setting, epochs=1)
        names = {str(each.message).split(" does not have", 1)[0] for each in caught if "deterministic" in str(each.message)}
        yield note(f"{_name(setting)}: operations without", ", ".join(sorted(names)) or "none")


def twice_deterministic(place: Place) -> Iterator[Row]:
    """Losses and weights of two runs with deterministic algorithms where there are such."""
    for setting in place.size(SETTINGS, SETTINGS[:1]):
        with warnings.catch_warnings(), deterministic(warn_only=True):
            warnings.simplefilter("ignore")
            same = _same(place, setting)
        yield holds(
            f"{_name(setting)}: equal to the last bit", same == 0, "equal" if same == 0 else f"losses differ by {same:.1e}"
        )


def twice(place: Place) -> Iterator[Row]:
    """Relative difference of the losses of two runs as they are by default."""
    for setting in place.size(SETTINGS, SETTINGS[:1]):
        yield note(f"{_name(setting)}: difference by default", _same(place, setting))


def _same(place: Place, setting: tuple[str, str, str, str]) -> float:
    """Return how far the losses of two equal runs are apart; at least the smallest float where weights alone differ."""
    (one, weights), (other, other_weights) = (_go(place, setting, place.size(2, 1)) for _ in range(2))
    same = all(torch.equal(weights[name], other_weights[name]) for name in weights)
    return max(largest_difference(one, other), 0.0 if same else 1e-45)


def _go(place: Place, setting: tuple[str, str, str, str], epochs: int) -> tuple[list, dict[str, torch.Tensor]]:
    name, loss, augmentation, precision = setting
    recipe = recipe_of(epochs, loss=loss, augmentation=augmentation, precision=precision)
    sets = draw_sets(place.size(32, 8), 8, place.size(64, 32), ignored=True)
    checkpoint = place.folder / "run.safetensors"
    checkpoint.unlink(missing_ok=True)
    run = Run(name, sets, recipe, place.device, checkpoint)
    results = run.go()
    assert run.state is not None
    return results, {key: value.cpu() for key, value in run.state.model.network.state_dict().items()}


def _name(setting: tuple[str, str, str, str]) -> str:
    return ", ".join(setting)


CHECKS = (operations, twice_deterministic, twice)
