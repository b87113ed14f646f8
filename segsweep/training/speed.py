"""The speed of training and prediction of a model on this device, measured on a few batches and cached."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segsweep.config.stage_kinds import is_self_supervised
from segsweep.config.user_objects import fingerprint
from segsweep.models.architectures import build_encoder, build_model
from segsweep.models.freeze import freeze
from segsweep.models.small_stem import use_small_stem
from segsweep.store.protocol import SharedText
from segsweep.training.batches import normalise
from segsweep.training.device import Device
from segsweep.training.losses import cross_entropy
from segsweep.training.recipe import Length
from segsweep.training.self_supervised_method import PretrainingRecipe, build_method
from segsweep.training.world import World

MEASURED_SECONDS = 0.2
CPU_BATCH = 8  # on a CPU, the speed per image hardly depends on the batch size


def measure_speed(
    model: str,
    classes: int,
    image_px: int,
    batch_size: int,
    policy: str,
    precision: str,
    device: Device,
    cache: SharedText,
    small_stem: bool = False,
    frozen_norm: str = "eval",
) -> tuple[float, float]:
    """Return images per second of training and of prediction.

    Either `model` is an architecture with `classes` output channels, and `policy` and `frozen_norm` its freeze policy; or `model`
    is an encoder and `policy` the self-supervised method that trains it, with the stem for small images if `small_stem`. Training
    steps and predictions are timed for 0.2 seconds each, after one warm-up step. `cache` holds the measured speeds as JSON.
    """
    key = json.dumps(
        [
            device.label,
            model,
            fingerprint(model),
            classes,
            image_px,
            batch_size,
            policy,
            *([code] if (code := fingerprint(policy)) else []),
            precision,
            *([True] if small_stem else []),
            *([frozen_norm] if frozen_norm != "eval" else []),
        ]
    )
    known = _known(cache)
    if key not in known:
        device.set_up()
        count = batch_size if device.cuda else max(2, min(batch_size, CPU_BATCH))
        known[key] = _measure(model, classes, image_px, count, policy, precision, device, small_stem, frozen_norm)
        with suppress(OSError):  # on a full disk, the next call measures again
            cache.write(json.dumps(known, indent=1))
    train_speed, predict_speed = known[key]
    return float(train_speed), float(predict_speed)


def drop_damaged(cache: SharedText) -> str | None:
    """Remove a cache of speeds that cannot be read, and return a line that reports it; None if the cache is sound or missing."""
    try:
        if _parsed(cache.read()):
            return None
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        pass
    with suppress(OSError):
        cache.remove()
    return f"{cache.location}: unreadable; speeds are measured again"


def _known(cache: SharedText) -> dict[str, Any]:
    """Return the speeds in a cache by their keys: none if the cache is missing or cannot be read."""
    try:
        return _parsed(cache.read())
    except (OSError, ValueError):
        return {}


def _parsed(text: str) -> dict[str, Any]:
    known = json.loads(text)
    well_formed = isinstance(known, dict) and all(isinstance(pair, list) and len(pair) == 2 for pair in known.values())
    return known if well_formed else {}


def _measure(
    model: str,
    classes: int,
    image_px: int,
    count: int,
    policy: str,
    precision: str,
    device: Device,
    small_stem: bool,
    frozen_norm: str,
) -> tuple[float, float]:
    """Measure on batches of `count` images, halved while they do not fit the device."""
    images = torch.zeros(count, image_px, image_px, 3, dtype=torch.uint8, device=device.torch).permute(0, 3, 1, 2)
    half = torch.autocast(device.torch.type, torch.bfloat16, enabled=precision == "bfloat16")
    network: nn.Module
    if is_self_supervised(policy):
        network, loss_of = _pretraining(model, policy, images, half, small_stem)
    else:
        segmenter = build_model(model, classes, seed=0)
        freeze(segmenter, policy, frozen_norm=frozen_norm)
        network, loss_of = segmenter, _segmentation(segmenter, images, half)
    try:
        return _speeds(network, loss_of, count, device)
    except torch.OutOfMemoryError:  # in a run, workers would share the batch or one would split it into micro-batches
        if count < 4:
            raise
    del network, loss_of
    return _measure(model, classes, image_px, count // 2, policy, precision, device, small_stem, frozen_norm)


def _segmentation(model: nn.Module, images: Tensor, half: torch.autocast) -> Callable[[], Tensor]:
    """Return a function that computes a model's loss on images (B, 3, H, W), uint8."""
    masks = torch.zeros(len(images), *images.shape[2:], dtype=torch.long, device=images.device)

    def loss() -> Tensor:
        with half:
            logits_BCHW = model(normalise(images))
        return cross_entropy(logits_BCHW.float(), masks)

    return loss


def _pretraining(
    encoder: str, kind: str, images: Tensor, half: torch.autocast, small_stem: bool
) -> tuple[nn.Module, Callable[[], Tensor]]:
    """Return a self-supervised method around an encoder, and a function that computes its loss on images (B, 3, H, W), uint8."""
    recipe = PretrainingRecipe(Length(1, None, None), images.shape[-1], 1.0, len(images), "adam", 0.0, 0.0, 1.0, "float32")
    network = build_encoder(encoder, seed=0)
    method = build_method(kind, use_small_stem(network, encoder, seed=0) if small_stem else network, recipe, seed=0)
    chance = torch.Generator()

    def loss() -> Tensor:
        views = normalise(method.views(images, len(images), np.arange(len(images)), chance))
        with half:
            output = method(views)
        return method.loss(output.float(), len(images), World())[0]

    return method, loss


def _speeds(network: nn.Module, loss_of: Callable[[], Tensor], count: int, device: Device) -> tuple[float, float]:
    """Return images per second of training and of prediction, for batches of `count` images."""
    network.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = torch.optim.Adam([parameter for parameter in network.parameters() if parameter.requires_grad])

    def train_step() -> None:
        optimizer.zero_grad()
        loss_of().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    network.train()
    train_step()
    train_speed = count / _seconds(train_step, device)
    network.eval()
    with torch.inference_mode():
        return train_speed, count / _seconds(loss_of, device)


def _seconds(work: Callable[[], object], device: Device) -> float:
    """Return the median wall time of up to nine calls; the calls end once they have used `MEASURED_SECONDS`."""
    times: list[float] = []
    while len(times) < 9 and (not times or sum(times) < MEASURED_SECONDS):
        device.wait()
        start = time.perf_counter()
        work()
        device.wait()
        times.append(time.perf_counter() - start)
    return median(times)
