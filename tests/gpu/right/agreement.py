"""float32 on the GPU against the CPU: networks, losses, augmentation, evaluation, prefetch, whole curves."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gpu.drawn import draw, draw_sets
from gpu.part_context import PartContext
from gpu.rows import Row, at_least, at_most, equal, note
from gpu.runs import Run, largest_difference, recipe_of, without_chance
from segsweep.data.dataset import IGNORE
from segsweep.models.architectures import build_model
from segsweep.training.augment import AUGMENTATIONS, augment
from segsweep.training.augment import draw as draw_changes
from segsweep.training.batches import ImageSet, epoch_batches, normalise
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.losses import cross_entropy, make_objective
from segsweep.training.simclr import VIEWS

NETWORKS = (
    "unet16",
    "unet-mobilenet_v2",
    "unet-vgg16",
    "unet-resnet50",
    "fcn-resnet50",
    "deeplabv3-resnet50",
    "denseaspp-densenet121",
    "deeplabv3plus-mobilenet_v2",
    "segformer-mit_b0",
)
LOSSES = ("cross_entropy", "weighted_cross_entropy", "bce", "focal", "dice", "jaccard", "lovasz", "0.5*cross_entropy+dice")
TIMES_THE_CPU = 20  # allowed error relative to the CPU's error from float64: sums in another order, Winograd convolutions
LEAST_ERROR = 1e-5
PERTURBATION = 1e-6  # relative change of initial weights: about the effect of sums in another order on a layer's outputs
TIMES_PERTURBED = 10  # allowed distance from the CPU relative to a perturbed run: the GPU rounds differently in every step
LEAST_DIFFERENCE = 1e-3
CPU = Device("cpu", 4)


def networks(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of logits and gradients of one batch from float64 on the CPU; the error of float32 on the CPU sets
    the scale.
    """
    sets = draw(4, part_context.size(96, 32), ignored=True)
    for name in part_context.size(NETWORKS, NETWORKS[:1]):
        exact = _once(name, sets, CPU, torch.float64)
        usual, found = (_errors(_once(name, sets, device, torch.float32), exact) for device in (CPU, part_context.device))
        for what, cpu, gpu in zip(("logits", "gradients"), usual, found, strict=True):
            yield at_most(f"{name}: error of {what} (CPU {cpu:.1e})", gpu, TIMES_THE_CPU * cpu + LEAST_ERROR)


def tf32_would_be_seen(part_context: PartContext) -> Iterator[Row]:
    """Yield the same error with TF32 on, to show that the check above detects it."""
    sets, name = draw(4, 64, ignored=True), "unet-resnet50"
    if not part_context.device.cuda:
        return
    yield equal("TF32 of convolutions", torch.backends.cudnn.allow_tf32, False)
    exact = _once(name, sets, CPU, torch.float64)
    off = _errors(_once(name, sets, part_context.device, torch.float32), exact)[0]
    torch.backends.cudnn.allow_tf32 = True
    on = _errors(_once(name, sets, part_context.device, torch.float32), exact)[0]
    torch.backends.cudnn.allow_tf32 = False
    yield note(f"{name}: error of logits, TF32 off", off)
    yield at_least(f"{name}: error of logits, TF32 on, relative to off", on / max(off, 1e-12), 5)


def _once(name: str, sets: ImageSet, device: Device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return logits and all gradients of one batch, in float64 on the CPU; dropout is off."""
    model = build_model(name, 2, seed=0).to(device.torch, dtype, memory_format=torch.channels_last)
    without_chance(model)
    model.train()
    ((images, masks),) = sets.batches([sets.members], device)
    logits = model(normalise(images).to(dtype))
    cross_entropy(logits, masks).backward()
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return logits.detach().cpu().double(), torch.cat(gradients).cpu().double()


def _errors(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> list[float]:
    return [float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]


def losses(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of every loss and gradient between GPU and CPU, with two and with five classes and some ignored
    pixels.
    """
    for classes in (2, 5):
        chance = torch.Generator().manual_seed(classes)
        logits = torch.randn(3, classes, 32, 32, generator=chance)
        masks = torch.randint(classes, (3, 32, 32), generator=chance)
        masks[:, :5] = IGNORE
        names = [f"class {number}" for number in range(classes)]
        for text in LOSSES:
            objective = make_objective(text, names, np.arange(1.0, classes + 1) / 10)
            (cpu, cpu_gradient), (gpu, gpu_gradient) = (
                _loss(objective, logits, masks, device) for device in (CPU, part_context.device)
            )
            worst = max(float((cpu - gpu).abs() / cpu.abs()), float((cpu_gradient - gpu_gradient).norm() / cpu_gradient.norm()))
            yield at_most(f"{text}, {classes} classes: loss and gradient", worst, 1e-4)


def _loss(objective: object, logits: Tensor, masks: Tensor, device: Device) -> tuple[Tensor, Tensor]:
    own = logits.clone().to(device.torch).requires_grad_()
    loss = objective(own, masks.to(device.torch))  # type: ignore[operator]
    loss.backward()
    return loss.detach().cpu(), own.grad.cpu()


def augmentations(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of every augmentation and of SimCLR's views between GPU and CPU, for equal parameters."""
    count = part_context.size(32, 4)
    image_set = draw(count, part_context.size(96, 32), classes=3, ignored=True)
    for name, augmentation in {**AUGMENTATIONS, "simclr": VIEWS}.items():
        drawn = draw_changes(augmentation, count, torch.Generator().manual_seed(1))
        outputs = []
        for device in (CPU, part_context.device):
            ((images, masks),) = image_set.batches([image_set.members], device)
            images, masks = augment(augmentation, images, masks, drawn)
            outputs.append((images.cpu().int(), masks.cpu()))
        (images, masks), (others, other_masks) = outputs
        yield at_most(f"{name}: share of values that differ by over 2 of 255", _share((images - others).abs() > 2), 0.002)
        yield at_most(f"{name}: share of mask pixels that differ", _share(masks != other_masks), 0.002)


def _share(differ: Tensor) -> float:
    return float(differ.float().mean())


def evaluation(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of `evaluate` between GPU and CPU: losses, confusion matrix, boundary scores."""
    image_set = draw(part_context.size(40, 6), part_context.size(64, 32), classes=3, ignored=True)
    objective = make_objective("cross_entropy", image_set.data.classes)
    found = []
    for device in (CPU, part_context.device):
        model = build_model("unet-mobilenet_v2", 3, seed=0).to(device.torch, memory_format=torch.channels_last)
        values = {"batch_size": 8, "precision": "float32", "device": device, "boundary": True, "examples": 3}
        found.append(evaluate(model, image_set, loss=objective, **values))
    cpu, gpu = found
    yield at_most("loss", abs(cpu.loss - gpu.loss) / cpu.loss, 1e-4)
    moved = np.abs(cpu.confusion_CC - gpu.confusion_CC).sum() / cpu.confusion_CC.sum()
    yield at_most("share of pixels counted elsewhere", float(moved), 0.005)
    yield equal("pixels counted", int(gpu.confusion_CC.sum()), int(cpu.confusion_CC.sum()))
    yield at_most("boundary F", float(np.nanmax(np.abs(cpu.boundary_NC - gpu.boundary_NC))), 0.05)
    yield equal("examples", gpu.examples.shape, cpu.examples.shape)


def prefetch(part_context: PartContext) -> Iterator[Row]:
    """Yield whether batches from memory-mapped files, through pinned memory while the device is busy, have equal values."""
    image_set = draw(part_context.size(256, 24), 64, ignored=True)
    for name in ("images", "masks"):
        np.save(part_context.folder / f"{name}.npy", getattr(image_set.data, name))
    mapped = {name: np.load(part_context.folder / f"{name}.npy", mmap_mode="r") for name in ("images", "masks")}
    files, wrong, count = ImageSet(replace(image_set.data, **mapped), image_set.members), 0, 0
    busy = torch.ones(part_context.size(4096, 64), part_context.size(4096, 64), device=part_context.device.torch)
    for epoch in range(part_context.size(20, 2)):
        batches = epoch_batches(len(files), 16, seed=0, epoch=epoch)
        found = []
        for batch in files.batches(batches, part_context.device):  # all batches are read before anything waits for the device
            busy = busy @ busy / busy.shape[0]
            found.append(batch)
        for positions, (images, masks) in zip(batches, found, strict=True):
            expected = torch.from_numpy(image_set.data.images[positions]).permute(0, 3, 1, 2)
            labels = torch.from_numpy(image_set.data.masks[positions]).long()
            same = torch.equal(images.cpu(), expected) and torch.equal(masks.cpu(), labels)
            wrong, count = wrong + (not same), count + 1
    yield equal(f"wrong batches of {count}", wrong, 0)


def curves(part_context: PartContext) -> Iterator[Row]:
    """Yield the differences of the losses of three epochs between GPU and CPU.

    The bound covers rounding: `TIMES_PERTURBED` times the difference between the CPU's run and a CPU run whose initial weights
    differ by one part in a million. Learning rates are low, so that this difference is small: at 1e-3 the losses of such a run
    differ by up to 0.5.
    """
    sets = draw_sets(part_context.size(48, 8), part_context.size(16, 4), 32, ignored=True)
    cases = (("unet16", "none", 1e-4), ("unet-mobilenet_v2", "encoder", 1e-4), ("unet-resnet18", "norm", 1e-5))
    for name, policy, learning_rate in part_context.size(cases, cases[:1]):
        recipe = recipe_of(part_context.size(3, 1), learning_rate=learning_rate)
        runs = {
            kind: Run(
                name, sets, recipe, device, part_context.folder / f"{name}-{kind}.safetensors", policy, perturbation=relative
            )
            for kind, device, relative in (
                ("cpu", CPU, 0.0),
                ("perturbed", CPU, PERTURBATION),
                ("device", part_context.device, 0.0),
            )
        }
        found = {kind: run.go() for kind, run in runs.items()}
        perturbed, apart = (largest_difference(found["cpu"], found[kind]) for kind in ("perturbed", "device"))
        rule = f"{TIMES_PERTURBED} x {perturbed:.1e} by initial weights changed by {PERTURBATION:g}, + {LEAST_DIFFERENCE:g}"
        label = f"{name}, freeze {policy}: relative difference of losses (bound: {rule})"
        yield at_most(label, apart, TIMES_PERTURBED * perturbed + LEAST_DIFFERENCE)


CHECKS = (networks, tf32_would_be_seen, losses, augmentations, evaluation, prefetch, curves)
