"""Equal runs: bit by bit in the deterministic mode, closely without; and the operations without a deterministic algorithm."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from gpu.drawn import draw_sets
from gpu.part_context import PartContext
from gpu.rows import Row, holds, note
from gpu.runs import Run, largest_difference, recipe_of
from segsweep.training.device import Device, switches_restored

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
def deterministic(device: Device) -> Iterator[Device]:
    """Yield the same device in the mode of `--deterministic`, set up; the mode ends with the block."""
    with switches_restored():
        again = replace(device, deterministic=True)
        again.set_up()
        yield again


def deterministic_twice(part_context: PartContext) -> Iterator[Row]:
    """Yield whether the weights of two deterministic runs are equal; they may differ only if an operation has no deterministic
    algorithm, which is then named. The sum of a cross-entropy over pixels has none, but no gradient depends on its rounding.
    """
    for setting in part_context.size(SETTINGS, SETTINGS[:1]):
        with warnings.catch_warnings(record=True) as caught, deterministic(part_context.device) as device:
            warnings.simplefilter("always")
            losses_apart, same = _twice(replace(part_context, device=device), setting)
        texts = [str(each.message) for each in caught if "deterministic" in str(each.message)]
        names = sorted({text.split(" does not have", 1)[0][:60] for text in texts})
        blamed = [name for name in names if not name.startswith("nll_loss2d_forward")]
        label = f"{_name(setting)}: weights, deterministic (losses differ by {losses_apart:.1e})"
        if blamed:
            yield note(label, f"{'equal' if same else 'differ'}; without such an algorithm: {', '.join(names)}")
        else:
            yield holds(label, same, f"{'equal' if same else 'differ'}{'; beside ' + names[0] if names else ''}")


def default_twice(part_context: PartContext) -> Iterator[Row]:
    """Yield the difference of two runs in the default mode."""
    for setting in part_context.size(SETTINGS, SETTINGS[:1]):
        losses_apart, same = _twice(part_context, setting)
        yield note(f"{_name(setting)}: by default", f"weights {'equal' if same else 'differ'}, losses by {losses_apart:.1e}")


def _twice(part_context: PartContext, setting: tuple[str, str, str, str]) -> tuple[float, bool]:
    """Return the largest relative difference of the losses of two equal runs, and whether their weights are equal."""
    (one, weights), (other, other_weights) = (_go(part_context, setting, part_context.size(2, 1)) for _ in range(2))
    return largest_difference(one, other), all(torch.equal(weights[name], other_weights[name]) for name in weights)


def _go(part_context: PartContext, setting: tuple[str, str, str, str], epochs: int) -> tuple[list, dict[str, torch.Tensor]]:
    name, loss, augmentation, precision = setting
    recipe = recipe_of(epochs, loss=loss, augmentation=augmentation, precision=precision)
    sets = draw_sets(part_context.size(32, 8), 8, part_context.size(64, 32), ignored=True)
    checkpoint = part_context.folder / "run.safetensors"
    checkpoint.unlink(missing_ok=True)
    run = Run(name, sets, recipe, part_context.device, checkpoint)
    results = run.go()
    assert run.state is not None
    return results, {key: value.cpu() for key, value in run.state.model.network.state_dict().items()}


def _name(setting: tuple[str, str, str, str]) -> str:
    return ", ".join(setting)


CHECKS = (deterministic_twice, default_twice)
