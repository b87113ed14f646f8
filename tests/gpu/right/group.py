"""Several processes: NCCL with a group of one, and two processes on one card that train together through gloo."""

import os
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import Queue, get_context
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from gpu.drawn import draw_sets
from gpu.part_context import PartContext
from gpu.processes import answers
from gpu.right.determinism import deterministic
from gpu.rows import Row, at_most, equal, holds
from gpu.runs import Run, largest_difference, recipe_of, without_chance
from segsweep.models.architectures import build_model
from segsweep.training.batches import normalise
from segsweep.training.device import Device
from segsweep.training.losses import cross_entropy
from segsweep.training.world import World

WAIT_SECONDS = 60
CASES = ({}, {"loss": "dice"}, {"policy": "encoder", "unfreeze_every_epochs": 1, "ema": 0.5, "precision": "bfloat16"})


def nccl_group_of_one(part_context: PartContext) -> Iterator[Row]:
    """Yield whether converted normalisation and `DistributedDataParallel` under NCCL give the gradients of the plain model."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    distributed.init_process_group("nccl" if part_context.device.cuda else "gloo", rank=0, world_size=1)
    try:
        for name in part_context.size(("unet16", "unet-mobilenet_v2", "unet-tu-efficientnet_b0"), ("unet16",)):
            plain, joined = (_gradients(name, part_context, world) for world in (World(), World(0, 2)))
            for key, value in plain.items():
                yield at_most(f"{name}: {key}", float((joined[key] - value).norm() / value.norm()), 1e-3)
        total = World(0, 2).total(torch.ones(3, device=part_context.device.torch))
        yield equal("a sum over the group", float(total.sum()), 3.0)
    finally:
        distributed.destroy_process_group()


def _gradients(name: str, part_context: PartContext, world: World) -> dict[str, torch.Tensor]:
    """Return logits, gradients and running statistics of one batch; a world of two converts and wraps the model."""
    sets, device = draw_sets(8, 2, 64, ignored=True), part_context.device
    model = build_model(name, 2, seed=0)
    without_chance(model)
    world.synchronise(model.network, device)
    model.to(device.torch, memory_format=torch.channels_last).train()
    parallel = world.parallel(model, device)
    ((images, masks),) = sets[0].batches([sets[0].members], device)
    logits = parallel(normalise(images))
    cross_entropy(logits, masks).backward()
    gradients = [each.grad.flatten() for each in model.parameters() if each.grad is not None]
    statistics = [value.flatten() for key, value in model.state_dict().items() if "running" in key]
    found = {"logits": logits.detach(), "gradients": torch.cat(gradients), "statistics": torch.cat(statistics)}
    return {key: value.double().cpu() for key, value in found.items()}


def two_processes_on_one_card(part_context: PartContext) -> Iterator[Row]:
    """Yield whether two processes that share every batch on one card, through gloo, give the results of one process."""
    context, port = get_context("spawn"), _free_port()
    queue: Queue = context.Queue()
    processes = [context.Process(target=_join, args=(rank, port, part_context, queue)) for rank in (0, 1)]
    found = answers(processes, queue, WAIT_SECONDS)
    for rank, outcome in enumerate(found):
        if isinstance(outcome, str):
            yield holds(f"process {rank}", False, outcome[-400:])
            return
    for number, case in enumerate(part_context.size(CASES, CASES[:1])):
        alone = _train(World(), part_context, case, part_context.folder)
        (one, weights), (_, others) = (found[rank][number] for rank in (0, 1))
        yield at_most(f"{case or 'cross-entropy'}: losses against one process", largest_difference(alone[0], one), 0.05)
        yield equal(f"{case or 'cross-entropy'}: weights that differ between the two", _unequal(weights, others), 0)


def _join(rank: int, port: int, part_context: PartContext, queue: Queue) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        part_context.device.set_up()
        distributed.init_process_group("gloo", rank=rank, world_size=2)
        folder = part_context.folder / f"rank-{rank}"
        folder.mkdir()
        queue.put((rank, [_train(World(rank, 2), part_context, case, folder) for case in part_context.size(CASES, CASES[:1])]))
        distributed.destroy_process_group()
    except Exception:
        queue.put((rank, traceback.format_exc()))


def _train(world: World, part_context: PartContext, case: dict[str, Any], folder: Path) -> tuple[list, dict[str, Any]]:
    """Return the results and the weights (NumPy arrays) of a short run."""
    values = dict(case)
    policy = values.pop("policy", "none")
    sets = draw_sets(22, 9, 32, ignored=True)
    checkpoint = folder / f"{world.size}-{len(list(folder.iterdir()))}.safetensors"
    run = Run("unet16", sets, recipe_of(2, **values), part_context.device, checkpoint, policy, world=world)
    results = run.go()
    assert run.state is not None
    return results, {name: value.cpu().numpy() for name, value in run.state.model.network.state_dict().items()}


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> int:
    return sum(bool((one[name] != other[name]).any()) for name in one)


def two_separate_runs(part_context: PartContext) -> Iterator[Row]:
    """Yield whether two processes that share the card, each with a trial, give the results of single runs."""
    alone = _alone(part_context.device, part_context.folder / "alone")
    for rank, losses in enumerate(_side_by_side(_alone, part_context, 2)):
        if isinstance(losses, str):
            yield holds(f"process {rank}", False, losses[-400:])
        else:
            worst = max(abs(a - b) / a for a, b in zip(alone, losses, strict=True))
            yield at_most(f"process {rank}: losses against a run alone", worst, 1e-3)


def _alone(device: Device, checkpoint: Path) -> list[float]:
    """Return the losses of a short run with deterministic algorithms."""
    run = Run("unet-mobilenet_v2", draw_sets(32, 8, 64), recipe_of(2, precision="bfloat16"), device, checkpoint)
    with warnings.catch_warnings(), deterministic(device):
        warnings.simplefilter("ignore")
        return [each.train_loss for each in run.go()]


def _side_by_side(work: Callable[[Device, Path], list[float]], part_context: PartContext, count: int) -> list[list[float] | str]:
    context = get_context("spawn")
    queue: Queue = context.Queue()
    values = [(rank, work, part_context.device, part_context.folder / f"side-{rank}", queue) for rank in range(count)]
    processes = [context.Process(target=_work, args=each) for each in values]
    return answers(processes, queue, WAIT_SECONDS)


def _work(rank: int, work: Callable[[Device, Path], list[float]], device: Device, path: Path, queue: Queue) -> None:
    try:
        device.set_up()
        queue.put((rank, work(device, path)))
    except Exception:
        queue.put((rank, traceback.format_exc()))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


CHECKS = (nccl_group_of_one, two_processes_on_one_card, two_separate_runs)
