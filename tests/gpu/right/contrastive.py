"""SimCLR at its real batch size, with Adam and with LARS."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from gpu.drawn import draw, draw_patches
from gpu.part_context import PartContext
from gpu.rows import Row, at_most, holds, note
from segsweep.models.architectures import build_encoder
from segsweep.training.batches import ImageSet, normalisation_of
from segsweep.training.checkpoint import TrainingState
from segsweep.training.device import Device
from segsweep.training.probe import knn_facts
from segsweep.training.recipe import Length
from segsweep.training.self_supervised import PretrainingResult, pretrain, start_pretraining
from segsweep.training.self_supervised_method import Method, PretrainingRecipe, build_method
from segsweep.training.simclr import nt_xent
from segsweep.training.world import World


def pretraining(
    part_context: PartContext,
    encoder: str,
    *,
    batch_size: int,
    image_px: int,
    optimizer: str,
    steps: int,
    precision: str = "bfloat16",
) -> tuple[TrainingState[Method], Iterator[PretrainingResult]]:
    """Return a state, and the run that trains it for some steps in two stretches."""
    count = min(2 * batch_size, 1024)
    image_set = draw_patches(count + 64, image_px)
    train_set, val_set = ImageSet(image_set.data, image_set.members[:count]), ImageSet(image_set.data, image_set.members[count:])
    rate = 0.3 * batch_size / 256 if optimizer == "lars" else 1e-3
    recipe = PretrainingRecipe(Length(None, steps, 2), image_px, rate, batch_size, optimizer, 1e-6, 0.1, 0.1, precision)
    method = build_method("simclr", build_encoder(encoder, 0), recipe, seed=0)
    checkpoint, world = part_context.folder / f"ssl-{optimizer}-{batch_size}-{precision}-{steps}.safetensors", World()
    state = start_pretraining(method, recipe, part_context.device, checkpoint, world)
    values = {"seed": 0, "device": part_context.device, "checkpoint": checkpoint, "world": world}
    return state, pretrain(state, train_set, val_set, recipe, **values)


def real_batches(part_context: PartContext) -> Iterator[Row]:
    """Yield whether losses are finite and fall, images per second, and memory."""
    sizes = (("adam", 256, 96, "resnet50"), ("lars", 1024, 96, "resnet50"), ("lars", 512, 32, "resnet18"))
    for optimizer, batch_size, image_px, encoder in part_context.size(sizes, (("lars", 8, 32, "unet16"),)):
        part_context.release()
        state, running = pretraining(
            part_context, encoder, batch_size=batch_size, image_px=image_px, optimizer=optimizer, steps=part_context.size(30, 2)
        )
        results = list(running)
        name = f"{encoder}, {image_px} px, batch {batch_size}, {optimizer}"
        losses = [each.train_loss for each in results]
        yield holds(
            f"{name}: loss falls", losses[-1] < losses[0] or part_context.tiny, " > ".join(f"{loss:.3f}" for loss in losses)
        )
        yield note(f"{name}: held-out accuracy (chance 0.008)", results[-1].contrastive_accuracy)
        yield note(f"! SimCLR, {name}: training", results[-1].images_per_second, "images/s")
        if part_context.device.cuda:
            yield note(f"{name}: peak memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")
        del state, running


def against_the_cpu(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of the losses of a few steps in float32 between device and CPU, with both optimisers."""
    for optimizer in ("adam", "lars"):
        found = []
        for device in (Device("cpu", part_context.device.threads), part_context.device):
            values = {
                "batch_size": part_context.size(64, 8),
                "image_px": 32,
                "optimizer": optimizer,
                "steps": part_context.size(8, 2),
            }
            there = replace(part_context, device=device, folder=part_context.folder / f"{optimizer}-{len(found)}")
            there.folder.mkdir()
            found.append([each.train_loss for each in pretraining(there, "unet16", **values, precision="float32")[1]])
        worst = max(abs(cpu / gpu - 1) for cpu, gpu in zip(*found, strict=True))
        yield at_most(f"{optimizer}: training losses against the CPU", worst, 0.02)


def precisions(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences between bfloat16 and float32."""
    found = {}
    for precision in ("float32", "bfloat16"):
        values = {"batch_size": part_context.size(128, 8), "image_px": 32, "optimizer": "adam", "steps": part_context.size(16, 2)}
        _, running = pretraining(part_context, "unet16", **values, precision=precision)
        found[precision] = list(running)[-1].train_loss
    difference = abs(found["float32"] - found["bfloat16"]) / found["float32"]
    yield at_most("last training loss, bfloat16 against float32", difference, 0.1)


def loss_at_low_precision(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of NT-Xent of large batches between the device and float64."""
    chance = torch.Generator().manual_seed(0)
    first, second = (torch.randn(part_context.size(1024, 16), 128, generator=chance) for _ in range(2))
    exact = nt_xent(first.double(), second.double(), 0.1)[0]
    found = nt_xent(first.to(part_context.device.torch), second.to(part_context.device.torch), 0.1)[0]
    yield at_most("NT-Xent against float64", abs(float(found) / float(exact) - 1), 1e-5)


def probe(part_context: PartContext) -> Iterator[Row]:
    """Yield whether the k-NN probe works on the device."""
    image_set = draw(part_context.size(120, 30), 32)
    halves = [ImageSet(image_set.data, part) for part in (image_set.members[::2], image_set.members[1::2])]
    encoders = [build_encoder("resnet18", seed) for seed in (0, 1)]
    facts = knn_facts(*encoders, *halves, normalisation_of("imagenet", halves[0]), part_context.device)
    yield holds("k-NN facts", all(0 <= value <= 1 for value in facts.values()), str(facts))


CHECKS = (real_batches, against_the_cpu, precisions, loss_at_low_precision, probe)
