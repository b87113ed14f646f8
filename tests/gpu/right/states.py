"""Optimisers, moving averages, memory formats, and resuming from a checkpoint on the CPU."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch

from gpu.drawn import draw_sets
from gpu.part_context import PartContext
from gpu.right.contrastive import pretraining
from gpu.right.determinism import deterministic
from gpu.rows import Row, at_most, equal, holds, note
from gpu.runs import Run, largest_difference, recipe_of
from segsweep.training.batches import normalisation_of
from segsweep.training.checkpoint import TrainingState

VARIANTS: tuple[dict[str, Any], ...] = (
    {"optimizer": "adam"},
    {"optimizer": "adamw", "ema": 0.9, "precision": "bfloat16"},
    {"optimizer": "sgd", "schedule": "poly", "warmup": 0.2},
    {"optimizer": "rmsprop"},
    {"optimizer": "adam", "policy": "encoder", "unfreeze_every_epochs": 1, "layer_decay": 0.5, "ema": 0.5},
    {"optimizer": "adam", "policy": "encoder", "augmented_copies": 1, "augmentation": "rotate_flip_jitter_blur"},
    {"optimizer": "adamw", "encoder_lr_factor": 0.1, "normalisation": "own", "policy": "encoder:2"},
)


def resuming(part_context: PartContext) -> Iterator[Row]:
    """Yield whether a run that is stopped after its first epoch and resumed equals an uninterrupted one, with every optimiser."""
    sets = draw_sets(part_context.size(48, 8), 8, 32, ignored=True)
    for number, variant in enumerate(VARIANTS):
        values = dict(variant)
        policy = values.pop("policy", "none")
        normalisation = normalisation_of(values.pop("normalisation", "imagenet"), sets[0])
        recipe = recipe_of(part_context.size(3, 2), normalisation=normalisation, **values)
        name = part_context.size("unet-resnet18", "unet16")
        whole, parted = (
            Run(name, sets, recipe, part_context.device, part_context.folder / f"{number}-{kind}", policy) for kind in "ab"
        )
        with warnings.catch_warnings(), deterministic(part_context.device):
            warnings.simplefilter("ignore")
            expected = whole.go()
            parted.go(1)
            found = parted.go()
        label = ", ".join(map(str, variant.values()))
        yield at_most(f"{label}: losses after resuming", largest_difference(expected, found), 1e-3)
        assert parted.state is not None
        yield from _layout(parted.state, part_context, label)


def _layout(state: TrainingState[Any], part_context: PartContext, label: str) -> Iterator[Row]:
    """Yield whether a resumed state is on the device and channels last.

    Counters of steps have no dimension; torch keeps those of an optimiser that is not fused, such as RMSprop, on the CPU.
    """
    tensors = [value for held in state.optimizer.state.values() for value in held.values() if isinstance(value, torch.Tensor)]
    elsewhere = [tensor for tensor in tensors if tensor.dim() and tensor.device.type != part_context.device.torch.type]
    yield equal(f"{label}: optimiser tensors elsewhere than on the device", len(elsewhere), 0)
    yield equal(f"{label}: weights not channels last", _not_last(state.model.parameters()), 0)
    moments = [
        (parameter, value)
        for parameter, held in state.optimizer.state.items()
        for value in held.values()
        if isinstance(value, torch.Tensor) and value.dim() == 4
    ]
    yield equal(f"{label}: optimiser tensors laid out otherwise", sum(p.stride() != value.stride() for p, value in moments), 0)
    if state.average is not None:
        yield equal(f"{label}: averaged weights not channels last", _not_last(state.average.parameters()), 0)
    yield holds(f"{label}: kept weights are on the CPU", all(not tensor.is_cuda for tensor in state.best.values()))


def _not_last(parameters: Any) -> int:
    return sum(not each.is_contiguous(memory_format=torch.channels_last) for each in parameters if each.dim() == 4)


def averages(part_context: PartContext) -> Iterator[Row]:
    """Yield whether the moving average on the device follows its formula from step to step."""
    from segsweep.models.architectures import build_model
    from segsweep.training.checkpoint import moving_average

    model = build_model(part_context.size("unet-resnet18", "unet16"), 2, seed=0).to(
        part_context.device.torch, memory_format=torch.channels_last
    )
    average = moving_average(model, 0.9)
    expected = {name: value.detach().double().cpu() for name, value in model.state_dict().items()}
    for step in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        average.update_parameters(model)
        share = 1.0 if step == 0 else 1 - min(0.9, (1 + step) / (10 + step))  # the first update copies
        for name, value in model.state_dict().items():
            expected[name] += share * (value.detach().double().cpu() - expected[name])
    found = average.module.state_dict()
    worst = max(float((found[name].double().cpu() - value).abs().max()) for name, value in expected.items())
    yield at_most("moving average against float64", worst, 1e-5)


def fused_steps(part_context: PartContext) -> Iterator[Row]:
    """Yield whether a fused step of Adam equals the plain one on channels-last weights."""
    chance = torch.Generator().manual_seed(0)
    start = torch.randn(64, 32, 3, 3, generator=chance)
    gradients = [torch.randn(64, 32, 3, 3, generator=chance) for _ in range(5)]
    ends = []
    for fused in (False, True):
        weight = start.to(part_context.device.torch).to(memory_format=torch.channels_last).requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=1e-2, fused=fused, foreach=False)
        for gradient in gradients:
            weight.grad = gradient.to(part_context.device.torch).to(memory_format=torch.channels_last)
            optimizer.step()
        ends.append(weight.detach().cpu())
    yield at_most("fused Adam against the plain one", float((ends[0] - ends[1]).abs().max()), 1e-5)


def resuming_contrastive(part_context: PartContext) -> Iterator[Row]:
    """Yield whether SimCLR with LARS, stopped and resumed, equals an uninterrupted run."""
    values = {"batch_size": part_context.size(64, 8), "image_px": 32, "optimizer": "lars", "precision": "float32"}
    steps, encoder = part_context.size(8, 2), part_context.size("resnet18", "unet16")
    whole = list(pretraining(part_context, encoder, **values, steps=steps)[1])
    for path in part_context.folder.glob("ssl-*"):
        path.unlink()
    _, first = pretraining(part_context, encoder, **values, steps=steps)
    next(first)
    first.close()
    state, rest = pretraining(part_context, encoder, **values, steps=steps)
    found = list(rest)
    yield at_most("LARS: training loss after resuming", abs(found[-1].train_loss / whole[-1].train_loss - 1), 0.02)
    yield equal("LARS: weights not channels last", _not_last(state.model.parameters()), 0)
    yield note("LARS: losses", " > ".join(f"{each.train_loss:.3f}" for each in found))


CHECKS = (resuming, averages, fused_steps, resuming_contrastive)
