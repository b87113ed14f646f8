"""Several processes that train together equal one process: real processes, connected by gloo."""

import os
import pickle
import socket
from dataclasses import replace
from multiprocessing import Queue, get_context

import numpy as np
import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import distributed, nn

from segsweep.config.normalisation import HALF, IMAGENET
from segsweep.errors import UserError
from segsweep.models.architectures import build_encoder, build_model
from segsweep.models.freeze import freeze
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.loop import EpochResult, start_state, train
from segsweep.training.losses import make_objective
from segsweep.training.recipe import Length
from segsweep.training.self_supervised import pretrain, start_pretraining
from segsweep.training.self_supervised_method import PretrainingRecipe, build_method
from segsweep.training.simclr import SimCLR
from segsweep.training.world import SyncedBatchNorm, World

LOSSES = ("cross_entropy", "weighted_cross_entropy", "bce", "focal", "dice", "jaccard", "cross_entropy+0.5*dice")
TOLERANCE = 0.01  # relative, after three epochs: sums in another order, which Adam blows up


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _serve(rank: int, jobs: Queue, results: Queue) -> None:
    """Run jobs one after the other: join the process group, do the work, and send back its result."""
    torch.set_num_threads(1)
    while (job := jobs.get()) is not None:
        work, size, port, values = job
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        distributed.init_process_group("gloo", rank=rank, world_size=size)
        try:
            results.put(pickle.dumps((rank, work(World(rank, size), *values))))
        except Exception as error:
            results.put(pickle.dumps((rank, error)))
        finally:
            distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together():
    """Run a function of a world in several processes, and return the result of each."""
    context = get_context("forkserver")  # it imports torch once for all of them
    context.set_forkserver_preload([__name__])
    results, queues = context.Queue(), [context.Queue() for _ in range(3)]
    processes = [context.Process(target=_serve, args=(rank, jobs, results)) for rank, jobs in enumerate(queues)]
    for process in processes:
        process.start()

    def run(work, size, *values):
        port = free_port()
        for jobs in queues[:size]:
            jobs.put((work, size, port, values))
        found = dict(pickle.loads(results.get(timeout=50)) for _ in range(size))  # noqa: S301  # our own processes
        for value in found.values():
            if isinstance(value, Exception):
                raise value
        return [found[rank] for rank in range(size)]

    yield run
    for jobs, process in zip(queues, processes, strict=True):
        jobs.put(None)
        process.join(timeout=20)


def trained(world, sets, recipe, policy, folder, norm="eval") -> tuple[list[EpochResult], dict[str, torch.Tensor]]:
    """Train from the start, and return the results and the weights."""
    model = build_model("unet4", 2, seed=0)
    freeze(model, policy, frozen_norm=norm)
    device, checkpoint = Device("cpu", 1), folder / f"{world.size}.safetensors"
    state = start_state(model, recipe, device, checkpoint, world)
    results = list(train(state, *sets, recipe, seed=3, device=device, checkpoint=checkpoint, world=world))
    return results, state.evaluated.network.state_dict()


@pytest.fixture
def sets(image_set):
    """Return eleven images for training and five for validation, partly ignored: batches that do not divide evenly."""
    whole = image_set(16, ignored=True)
    return [replace(whole, members=part) for part in np.split(whole.members, [11])]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"loss": "dice"},
        {"policy": "encoder"},
        {"policy": "encoder", "norm": "train"},
        {"steps": 5, "validations": 2},
        {"policy": "encoder", "unfreeze_every_epochs": 1, "layer_decay": 0.5, "ema": 0.5, "schedule": "poly"},
        {"augmentation": "rotate_flip_jitter_blur", "augmented_copies": 1, "normalisation": HALF, "epochs": 1},
        {"gradient_clip_norm": 0.05, "optimizer": "sgd", "learning_rate": 0.1},
    ],
    ids=["cross-entropy", "dice", "frozen encoder", "frozen encoder in train mode", "steps", "unfreezing", "copies", "clipped"],
)
def test_two_processes_train_as_one(together, sets, recipe, tmp_path, values):
    """Losses of two processes equal those of one at the same batch size; both hold the same weights, and the metrics that these
    weights have in one process.
    """
    values = {"learning_rate": 3e-4} | values
    policy, norm = values.pop("policy", "none"), values.pop("norm", "eval")
    wanted, _ = trained(World(), sets, recipe(**values), policy, tmp_path, norm)
    (found, weights), (told, same) = together(trained, 2, sets, recipe(**values), policy, tmp_path, norm)
    for one, other in zip(wanted, found, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=TOLERANCE)
        assert other.val_loss == pytest.approx(one.val_loss, rel=TOLERANCE)
        assert (other.epoch, other.steps) == (one.epoch, one.steps)
    assert [(each.train_loss, each.val) for each in told] == [(each.train_loss, each.val) for each in found]
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    alone = evaluated(World(), sets, weights, values.get("normalisation", IMAGENET))
    assert found[-1].val.accuracy == pytest.approx(alone.scores.accuracy, abs=0.02)
    assert (tmp_path / "2.safetensors").is_file()


def first_gradients(world, sets, loss) -> dict[str, torch.Tensor]:
    """Return the gradients of one batch of eleven images in double precision."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()
    device = Device("cpu", 1)
    world.synchronise(network, device)
    parallel = world.parallel(network, device)
    data, positions = sets[0].data, world.share(sets[0].members)
    images = torch.from_numpy(data.images[positions]).permute(0, 3, 1, 2).double() / 255
    masks = torch.from_numpy(data.masks[positions]).long()[:, 1:-1, 1:-1]
    objective = make_objective(loss, data.classes, data.class_frequencies(sets[0].members))
    objective.part(parallel(images), masks, masks, len(sets[0]), world)[0].backward()
    statistics = {name: value for name, value in network.state_dict().items() if "running" in name}
    return {name: parameter.grad for name, parameter in network.named_parameters()} | statistics


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [2, 3])
def test_gradients_and_statistics_are_those_of_the_whole_batch(together, sets, loss, size):
    """In double precision, the gradients and running statistics of several processes equal those of one process."""
    alone = first_gradients(World(), sets, loss)
    for found in together(first_gradients, size, sets, loss):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=name)


def evaluated(world, sets, weights=None, normalisation=IMAGENET):
    model = build_model("unet4", 2, seed=0)
    if weights is not None:
        model.network.load_state_dict(weights)
    loss, device = make_objective("dice", ("one", "other")), Device("cpu", 1)
    rest = {"batch_size": 2, "precision": "float32", "normalisation": normalisation, "examples": 4}
    return evaluate(model, sets[1], loss=loss, device=device, world=world, **rest)


def test_evaluations_are_gathered_in_order(together, sets):
    """Each process gets the loss, the matrix of every image, and the first predictions, in the order of the images."""
    alone = evaluated(World(), sets)
    for found in together(evaluated, 3, sets):
        assert found.loss == pytest.approx(alone.loss, rel=1e-5)
        assert np.array_equal(found.confusion_CC, alone.confusion_CC)
        assert np.array_equal(found.counts_N3C, alone.counts_N3C)
        assert np.array_equal(found.examples, alone.examples)


def shared_out(world):
    return world.share(np.arange(5)).tolist(), world.agree(f"rank {world.rank}"), world.gather(world.rank)


def test_shares_make_up_the_batch_in_order_of_rank(together):
    """Shares follow each other in order of rank; `agree` returns the main process's value, `gather` the values of all."""
    found = together(shared_out, 2)
    assert [share for share, _, _ in found] == [[0, 1, 2], [3, 4]]
    assert all(word == "rank 0" and ranks == [0, 1] for _, word, ranks in found)


def test_fewer_images_than_processes_are_refused(sets, recipe, cpu, tmp_path):
    """A batch that leaves a process without an image is an error that names both numbers."""
    small, two = recipe(batch_size=2), World()
    state = start_state(build_model("unet4", 2, seed=0), small, cpu, tmp_path / "x", two)
    with pytest.raises(UserError, match="4 workers cannot share a batch of 2 images"):
        next(train(state, *sets, small, seed=0, device=cpu, checkpoint=tmp_path / "x", world=World(0, 4)))


def test_synchronised_normalisation_equals_torchs_in_one_process(together):
    """Over two processes with different images, outputs and statistics equal torch's batch normalisation of all of them."""
    images = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    plain = nn.BatchNorm2d(3)
    wanted = plain(images)
    outputs = together(normalised, 2, images)
    torch.testing.assert_close(torch.cat([output for output, _, _ in outputs]), wanted.detach(), rtol=1e-5, atol=1e-5)
    for _, mean, variance in outputs:
        torch.testing.assert_close(mean, plain.running_mean)
        torch.testing.assert_close(variance, plain.running_var)


def normalised(world, images):
    layer = nn.BatchNorm2d(3)
    layer.__class__ = SyncedBatchNorm
    output = layer(images[torch.from_numpy(world.share(np.arange(6)))])
    return output.detach(), layer.running_mean, layer.running_var


def act_gradients(world, sets) -> dict[str, torch.Tensor]:
    """Return the gradients of one batch with timm's batch normalisation, which contains its activation."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.Conv2d(4, 2, 1)).double()
    device = Device("cpu", 1)
    world.synchronise(network, device)
    images = torch.from_numpy(sets[0].data.images[world.share(sets[0].members)]).permute(0, 3, 1, 2).double() / 255
    parallel = world.parallel(network, device)
    parallel(images).square().mean().backward()
    found = {name: value for name, value in network.state_dict().items() if "running" in name}
    network.eval()
    return found | {"eval": network(torch.ones(1, 3, 8, 8, dtype=torch.double)).detach()}


def test_timms_normalisation_is_synchronised_too(together, sets):
    """timm's layer with an activation uses the statistics of the images of all processes, and keeps its activation."""
    alone = act_gradients(World(), sets)
    for found in together(act_gradients, 2, sets):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=name)


def contrastive_gradients(world, sets) -> dict[str, torch.Tensor]:
    """Return loss, gradients and running statistics of SimCLR on one batch of eleven images in double precision."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    method, device = SimCLR(encoder, 16, temperature=0.3).double(), Device("cpu", 1)
    world.synchronise(method.network, device)
    positions = world.share(sets[0].members)
    images = torch.from_numpy(sets[0].data.images[positions]).permute(0, 3, 1, 2)
    views = method.views(images, len(sets[0]), positions, torch.Generator().manual_seed(1)).double() / 255
    parallel = world.parallel(method, device)
    loss, _ = method.loss(parallel(views), len(sets[0]), world)
    (loss * world.size).backward()
    found = {name: value for name, value in method.network.state_dict().items() if "running" in name}
    found |= {name: parameter.grad for name, parameter in method.named_parameters()}
    return found | {"loss": loss.detach()}


@pytest.mark.parametrize("size", [2, 3])
def test_negatives_of_all_processes_give_the_gradients_of_the_whole_batch(together, sets, size):
    """NT-Xent over several processes has the loss, the gradients and the statistics of one process with all images."""
    alone = contrastive_gradients(World(), sets)
    for found in together(contrastive_gradients, size, sets):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=name)


def pretrained(world, sets, folder):
    recipe = PretrainingRecipe(Length(2, None, None), 16, 1e-3, 4, "lars", 1e-6, 0.1, 0.5, "float32")
    method, device = build_method("simclr", build_encoder("unet4", 0), recipe, seed=0), Device("cpu", 1)
    checkpoint = folder / f"ssl-{world.size}.safetensors"
    state = start_pretraining(method, recipe, device, checkpoint, world)
    results = list(pretrain(state, *sets, recipe, seed=3, device=device, checkpoint=checkpoint, world=world))
    return results, state.model.network.state_dict()


def test_two_processes_pretrain_as_one(together, sets, tmp_path):
    """Losses and matches of self-supervised training in two processes equal those of one, and both hold the same weights."""
    wanted, _ = pretrained(World(), sets, tmp_path)
    (found, weights), (told, same) = together(pretrained, 2, sets, tmp_path)
    for one, other in zip(wanted, found, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=TOLERANCE)
        assert other.val_loss == pytest.approx(one.val_loss, rel=TOLERANCE)
        assert (other.epoch, other.steps) == (one.epoch, one.steps)
    assert [result.train_loss for result in told] == [result.train_loss for result in found]
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_normalisation_that_cannot_be_synchronised_is_refused():
    """A layer whose statistics would stay per process is refused by its name."""
    with pytest.raises(UserError, match="0: BatchNorm3d cannot be trained by several workers on CPUs"):
        World(0, 2).synchronise(nn.Sequential(nn.BatchNorm3d(3)), Device("cpu", 1))
