"""The probe: a few training steps and evaluations of a model on this device, whose times the store keeps."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from segsweep.config.stage_kinds import is_self_supervised
from segsweep.data.prepared import Prepared
from segsweep.models.architectures import build_encoder, build_model
from segsweep.models.freeze import freeze
from segsweep.models.small_stem import use_small_stem
from segsweep.store.protocol import SharedText
from segsweep.training.augment import AUGMENTATIONS, augment, draw
from segsweep.training.batches import ImageSet, normalise
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.losses import cross_entropy, make_objective
from segsweep.training.machine import forget_peak, load_per_core, resident_bytes
from segsweep.training.recipe import Length
from segsweep.training.self_supervised_method import PretrainingRecipe, build_method
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import Probe, change_timings, is_current, read_timings
from segsweep.training.world import World

MEASURED_SECONDS = 0.3
ROUNDS = 3  # most repetitions of a measurement that other processes disturb
CPU_BATCH = 8  # on a CPU, the speed per image hardly depends on the batch size
ADAM_STATES = 2  # moments of every trainable parameter
NUMBER_BYTES = 4


def measure_speed(key: SpeedKey, device: Device, cache: SharedText) -> Probe:
    """Return the probe of a key on a device: the one that the store has, or a new one, which `cache` then keeps.

    A probe that is old or was disturbed by other processes is measured again. Training steps and evaluations are timed for 0.3
    seconds each, after one warm-up step.
    """
    known = read_timings(cache).probes.get(key.text)
    if known is not None and is_current(known.at) and not known.disturbed:
        return known
    device.set_up()
    found = _measure(key, key.batch_size if device.cuda else max(2, min(key.batch_size, CPU_BATCH)), device)
    change_timings(cache, lambda timings: timings.with_probe(key.text, found))
    return found


@dataclass(frozen=True)
class _Work:
    """The work that a probe times: a training step and an evaluation of `count` images."""

    network: nn.Module
    loss: Callable[[], Tensor]
    evaluate: Callable[[], object]
    count: int


def _measure(key: SpeedKey, count: int, device: Device) -> Probe:
    """Measure on batches of `count` images, halved while they do not fit the device."""
    load, base = load_per_core(), 0 if device.cuda else resident_bytes()
    forget_peak()
    if device.cuda:
        torch.cuda.empty_cache()  # what earlier work reserved would count
        torch.cuda.reset_peak_memory_stats(device.torch)
    start = time.perf_counter()
    work = (_pretraining if is_self_supervised(key.policy) else _segmentation)(key, count, device)
    build_seconds = time.perf_counter() - start
    try:
        probe = _timed(work, device)
    except torch.OutOfMemoryError:  # in a run, workers would share the batch or one would split it into micro-batches
        if count < 4:
            raise
        del work
        return _measure(key, count // 2, device)
    parameters = list(work.network.parameters())
    trainable = NUMBER_BYTES * sum(each.numel() for each in parameters if each.requires_grad)
    weights = NUMBER_BYTES * sum(each.numel() for each in (*parameters, *work.network.buffers()))
    fixed = weights + (1 + ADAM_STATES) * trainable
    return replace(
        probe,
        build_seconds=build_seconds,
        load=load,
        base_bytes=base,
        memory_bytes=_memory(device, base, fixed, key.batch_size / count),
        weight_bytes=weights,
        trainable_bytes=trainable,
    )


def _memory(device: Device, base: int | None, fixed: int, larger: float) -> int | None:
    """Return the peak of memory that training with a `larger` batch adds; `fixed` bytes do not grow with the batch.

    None if the system does not show the memory of a process.
    """
    peak = torch.cuda.max_memory_reserved(device.torch) if device.cuda else resident_bytes("peak")
    if peak is None or base is None:
        return None
    return round(fixed + max(0, peak - base - fixed) * larger)


def _segmentation(key: SpeedKey, count: int, device: Device) -> _Work:
    """Return the work of a trial or a supervised stage: augmented training steps, and evaluations with all measures."""
    model = build_model(key.model, key.classes, seed=0)
    freeze(model, key.policy, frozen_norm=key.frozen_norm)
    model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    held_out = ImageSet(_blank(count, key), np.arange(count))
    ((images, masks),) = held_out.batches([np.arange(count)], device)
    augmentation, chance = AUGMENTATIONS[key.augmentation], torch.Generator().manual_seed(0)
    objective = make_objective("cross_entropy", held_out.data.classes, foreground=0)

    def loss() -> Tensor:
        inputs, truth = augment(augmentation, images, masks, draw(augmentation, count, chance).rows(np.arange(count)))
        with torch.autocast(device.torch.type, torch.bfloat16, enabled=key.precision == "bfloat16"):
            logits_BCHW = model(normalise(inputs))
        return cross_entropy(logits_BCHW.float(), truth)

    def validate() -> object:
        return evaluate(model, held_out, loss=objective, batch_size=count, precision=key.precision, device=device)

    return _Work(model, loss, validate, count)


def _blank(count: int, key: SpeedKey) -> Prepared:
    """Return a dataset of black images without foreground."""
    classes = [f"class {number}" for number in range(key.classes)]
    size = (count, key.image_px, key.image_px)
    none = np.zeros((count, 0, 0))
    return Prepared(
        dataset="blank",
        images=np.zeros((*size, 3), np.uint8),
        masks=np.zeros(size, np.uint8),
        classes=classes,
        pool=(),
        names=[str(number) for number in range(count)],
        splits=[""] * count,
        strata=[""] * count,
        moments=none,
        pixels=none.astype(np.int64),
        foreground=0,
    )


def _pretraining(key: SpeedKey, count: int, device: Device) -> _Work:
    """Return the work of a self-supervised stage: training steps on views, and the loss of views without training."""
    images = torch.zeros(count, key.image_px, key.image_px, 3, dtype=torch.uint8, device=device.torch).permute(0, 3, 1, 2)
    recipe = PretrainingRecipe(Length(1, None, None), key.image_px, 1.0, count, "adam", 0.0, 0.0, 1.0, "float32")
    encoder = build_encoder(key.model, seed=0)
    network = use_small_stem(encoder, key.model, seed=0) if key.small_stem else encoder
    method = build_method(key.policy, network, recipe, seed=0)
    method.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
    chance = torch.Generator()

    def loss() -> Tensor:
        views = normalise(method.views(images, count, np.arange(count), chance))
        with torch.autocast(device.torch.type, torch.bfloat16, enabled=key.precision == "bfloat16"):
            output = method(views)
        return method.loss(output.float(), count, World())[0]

    return _Work(method, loss, loss, count)


def _timed(work: _Work, device: Device) -> Probe:
    """Return the times of a training step and an evaluation per image, repeated up to `ROUNDS` times while they are disturbed."""
    network = work.network
    optimizer = torch.optim.Adam([parameter for parameter in network.parameters() if parameter.requires_grad])

    def train_step() -> None:
        optimizer.zero_grad()
        work.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def one_round() -> Probe:
        network.train()
        train_seconds, of_training = _seconds(train_step, device)
        network.eval()
        with torch.inference_mode():
            evaluate_seconds, of_evaluation = _seconds(work.evaluate, device)
        share = min(of_training, of_evaluation) if not device.cuda and device.threads == 1 else None
        times = train_seconds / work.count, evaluate_seconds / work.count
        return Probe(*times, at=time.time(), machine=socket.gethostname(), cpu_share=share)

    network.train()
    train_step()
    best = one_round()
    for _ in range(ROUNDS - 1):
        if best.disturbed:
            again = one_round()
            best = min(best, again, key=lambda probe: (probe.disturbed, probe.train_seconds * probe.steady_share))
    return best


def _seconds(work: Callable[[], object], device: Device) -> tuple[float, float]:
    """Return the mean wall time of a call, and the share of this process's CPU time in it.

    The calls are repeated for `MEASURED_SECONDS`; the slower half is left out, as far as there are several.
    """
    times: list[tuple[float, float]] = []
    while len(times) < 30 and (not times or sum(wall for wall, _ in times) < MEASURED_SECONDS):
        device.wait()
        start, cpu = time.perf_counter(), time.process_time()
        work()
        device.wait()
        times.append((time.perf_counter() - start, time.process_time() - cpu))
    faster = sorted(times)[: (len(times) + 1) // 2]
    wall = sum(wall for wall, _ in faster)
    return wall / len(faster), sum(cpu for _, cpu in faster) / wall
