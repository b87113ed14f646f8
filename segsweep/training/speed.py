"""How fast a model trains and predicts here, measured on a few batches and remembered."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from segsweep.config.own import fingerprint
from segsweep.files import replacing
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.training.batches import normalise
from segsweep.training.device import Device
from segsweep.training.losses import cross_entropy

MEASURED_SECONDS = 0.2
CPU_BATCH = 8  # on a CPU the speed per picture hardly depends on the batch


def measure_speed(
    architecture: str,
    classes: int,
    image_px: int,
    batch_size: int,
    policy: str,
    precision: str,
    device: Device,
    cache: Path,
) -> tuple[float, float]:
    """Return pictures per second of training and of prediction.

    Training steps and predictions are timed for a fifth of a second each, after one step to warm up; `cache` is a JSON file
    that remembers.
    """
    key = json.dumps([device.label, architecture, fingerprint(architecture), classes, image_px, batch_size, policy, precision])
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    if key not in known:
        known[key] = _measure(architecture, classes, image_px, batch_size, policy, precision, device)
        with replacing(cache) as temporary:
            temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
    train_speed, predict_speed = known[key]
    return float(train_speed), float(predict_speed)


def _measure(
    architecture: str, classes: int, image_px: int, batch_size: int, policy: str, precision: str, device: Device
) -> tuple[float, float]:
    device.apply_threads()
    count = batch_size if device.cuda else max(2, min(batch_size, CPU_BATCH))
    model = build_model(architecture, classes, seed=0)
    freeze(model, policy)
    model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(count, image_px, image_px, 3, dtype=torch.uint8, device=device.torch).permute(0, 3, 1, 2)
    masks = torch.zeros(count, image_px, image_px, dtype=torch.long, device=device.torch)
    optimizer = torch.optim.Adam(list(model.trainable()))

    def forward() -> torch.Tensor:
        with torch.autocast(device.torch.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits: torch.Tensor = model(normalise(images))
        return logits

    def train_step() -> None:
        optimizer.zero_grad()
        cross_entropy(forward().float(), masks).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    model.train()
    train_step()
    train_speed = count / _seconds(train_step, device)
    model.eval()
    with torch.inference_mode():
        return train_speed, count / _seconds(forward, device)


def _seconds(work: Callable[[], object], device: Device) -> float:
    """Return the median time of a few repetitions, fewer where they are long."""
    times: list[float] = []
    while len(times) < 9 and (not times or sum(times) < MEASURED_SECONDS):
        device.wait()
        start = time.perf_counter()
        work()
        device.wait()
        times.append(time.perf_counter() - start)
    return median(times)
