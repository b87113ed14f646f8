"""Contract of self-supervised methods: tests that a method inherits, and runs of the training loop over a checkpoint.

A subclass `Test...` names the method's row of `segsweep.config.stage_kinds.STAGE_KINDS`, and implements an independent reference
of its loss. It needs the fixtures `image_set` and `cpu` of `tests/training`.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from threading import Barrier
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from segsweep.data.splits import Indices
from segsweep.models.architectures import build_encoder
from segsweep.training.batches import normalise
from segsweep.training.recipe import Length
from segsweep.training.self_supervised import PretrainingResult, pretrain, start_pretraining
from segsweep.training.self_supervised_method import Method, PretrainingRecipe, build_method
from segsweep.training.world import World

ENCODER, IMAGE_PX = "unet16", 32
TIMES = ("seconds", "images_per_second", "cpu_seconds")


def make_recipe(**values) -> PretrainingRecipe:
    """Return a short recipe."""
    standard = {
        "length": Length(3, None, None),
        "image_px": IMAGE_PX,
        "learning_rate": 1e-3,
        "batch_size": 4,
        "optimizer": "adam",
        "weight_decay": 1e-6,
        "warmup": 0.1,
        "temperature": 0.5,
        "precision": "float32",
    }
    return PretrainingRecipe(**{**standard, **values})


class Run:
    """One run over a checkpoint, repeated from it, each time with a new method as in a new process."""

    def __init__(self, sets, device, checkpoint, kind="simclr", **values):
        self.sets, self.device, self.checkpoint, self.recipe = sets, device, checkpoint, make_recipe(**values)
        self.kind, self.state = kind, None

    def go(self, results=None, world=None) -> list[PretrainingResult]:
        """Train up to a number of results, then interrupt the run; with None, train to the end."""
        world = world or World()
        method = build_method(self.kind, build_encoder(ENCODER, 0), self.recipe, 0)
        self.state = start_pretraining(method, self.recipe, self.device, self.checkpoint, world)
        running = pretrain(
            self.state, *self.sets, self.recipe, seed=3, device=self.device, checkpoint=self.checkpoint, world=world
        )
        taken = list(itertools.islice(running, results))
        running.close()
        return taken

    def weights(self) -> dict[str, Tensor]:
        """Return all weights that the method trains."""
        return {name: tensor.clone() for name, tensor in self.state.model.network.state_dict().items()}


def numbers(results: list[PretrainingResult]) -> list[dict]:
    """Return results as plain values, without measured times."""
    return [{name: value for name, value in asdict(r).items() if name not in TIMES} for r in results]


@dataclass
class Meeting:
    """The point at which the threads of a world exchange values."""

    size: int
    values: dict[int, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._barrier = Barrier(self.size, timeout=20)

    def exchange(self, rank: int, value: object) -> list:
        """Return the values of all threads, in order of rank."""
        self.values[rank] = value
        self._barrier.wait()
        found = [self.values[each] for each in range(self.size)]
        self._barrier.wait()
        return found


@dataclass(frozen=True)
class ThreadWorld(World):
    """A world whose processes are threads of this one; `tests/training/test_world.py` tests real processes."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def agree(self, value):
        return self.meeting.exchange(self.rank, value)[0]

    def gather(self, value):
        return self.meeting.exchange(self.rank, value)

    def total(self, number: Tensor) -> Tensor:
        return torch.stack(self.gather(number.detach())).sum(dim=0)

    def gather_rows(self, local: Tensor, count: int) -> Tensor:
        rows = self.gather(local.detach())
        rows[self.rank] = local
        assert sum(map(len, rows)) == count
        return torch.cat(rows)


def in_threads(size: int, work) -> list:
    """Return the results of `work` for each rank of a world of `size` parallel threads."""
    meeting = Meeting(size)
    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(lambda rank: work(ThreadWorld(rank, size, meeting)), range(size)))


def rows_of(views: Tensor, positions: Indices, count: int) -> Tensor:
    """Return the rows of some images of a batch, from rows that are arranged view by view."""
    return views.unflatten(0, (-1, count))[:, torch.from_numpy(positions)].flatten(0, 1)


class SelfSupervisedContract:
    """Tests of a method. `better_by` is the rise of `measure` that `epochs` epochs on twenty images must reach."""

    kind: ClassVar[str]
    better_by: ClassVar[float]
    epochs: ClassVar[int] = 30

    def reference(self, output: Tensor, count: int, recipe: PretrainingRecipe) -> Tensor:
        """Return the loss of a batch of `count` images, computed independently from the output of the method's forward pass."""
        raise NotImplementedError

    def measure(self, result: PretrainingResult) -> float:
        """Return the quality on held-out images by the method's measure: higher is better."""
        assert result.contrastive_accuracy is not None
        return result.contrastive_accuracy

    @pytest.fixture
    def easy(self) -> None:
        """Change what makes a tiny dataset too hard; does nothing unless a subclass overrides it."""

    def method(self, seed: int = 0) -> Method:
        """Return the method with random weights."""
        return build_method(self.kind, build_encoder(ENCODER, seed), make_recipe(), seed)

    def batch(self, image_set, count: int) -> Tensor:
        """Return images (count, 3, 32, 32), uint8."""
        return torch.from_numpy(image_set(count, IMAGE_PX).data.images).permute(0, 3, 1, 2)

    def output_like(self, image_set, count: int) -> Tensor:
        """Return random numbers, double, in the shape of the forward pass's output for a batch."""
        views = self.method().views(self.batch(image_set, count), count, np.arange(count), torch.Generator().manual_seed(0))
        shape = self.method()(normalise(views)).shape
        return torch.randn(shape, dtype=torch.double, generator=torch.Generator().manual_seed(count))

    @pytest.mark.parametrize("count", [2, 7])
    def test_the_loss_equals_an_independent_reference(self, image_set, count):
        """Loss and gradient of a batch are those of the reference, in double precision."""
        method, output = self.method(), self.output_like(image_set, count).requires_grad_()
        found, expected = method.loss(output, count, World())[0], self.reference(output, count, make_recipe())
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(loss, output)[0] for loss in (found, expected)]
        torch.testing.assert_close(*gradients)
        assert gradients[0].abs().max() > 0

    @pytest.mark.parametrize("size", [2, 3])
    def test_views_do_not_depend_on_the_share_of_the_batch(self, image_set, size):
        """The views of a process's images equal those that a single process draws for them."""
        method, images = self.method(), self.batch(image_set, 7)
        whole = method.views(images, 7, np.arange(7), torch.Generator().manual_seed(1))
        assert whole.dtype == torch.uint8
        assert len(whole) % 7 == 0
        for rank in range(size):
            rows = World(rank, size).share(np.arange(7))
            found = method.views(images[torch.from_numpy(rows)], 7, rows, torch.Generator().manual_seed(1))
            assert torch.equal(found, rows_of(whole, rows, 7))

    @pytest.mark.parametrize("size", [2, 3])
    def test_the_loss_is_that_of_the_whole_batch_in_every_process(self, image_set, size):
        """Each process has the loss and measure of a single process with all images, and its rows have the same gradient."""
        method, output = self.method(), self.output_like(image_set, 7).requires_grad_()
        alone, share = method.loss(output, 7, World())
        (whole,) = torch.autograd.grad(alone, output)

        def work(world: World) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            positions = world.share(np.arange(7))
            rows = rows_of(output.detach(), positions, 7).clone().requires_grad_()
            loss, own_share = method.loss(rows, 7, world)
            return loss.detach(), own_share, torch.autograd.grad(loss, rows)[0], rows_of(whole, positions, 7)

        for loss, own_share, found, expected in in_threads(size, work):
            torch.testing.assert_close(loss, alone.detach())
            torch.testing.assert_close(own_share, share, equal_nan=True)
            torch.testing.assert_close(found, expected)

    def test_training_improves_the_methods_measure(self, image_set, cpu, tmp_path, easy):  # noqa: ARG002
        """On held-out images the measure is higher and the loss lower after a short training than after its first epoch.

        Twelve images are held out and the last third of the epochs is averaged: a single epoch on few images depends on rounding.
        """
        whole = image_set(32, IMAGE_PX)
        sets = [replace(whole, members=part) for part in np.split(whole.members, [20])]
        results = Run(sets, cpu, tmp_path / "c.safetensors", self.kind, length=Length(self.epochs, None, None)).go()
        assert (
            np.mean([self.measure(result) for result in results[-(self.epochs // 3) :]])
            > self.measure(results[0]) + self.better_by
        )
        assert results[-1].train_loss < results[0].train_loss

    def test_an_interrupted_run_resumes_with_the_same_numbers(self, image_set, cpu, tmp_path):
        """A resumed run yields its earlier results, then the numbers and weights of an uninterrupted run."""
        whole = image_set(14, IMAGE_PX)
        sets = [replace(whole, members=part) for part in np.split(whole.members, [10])]
        undisturbed, broken = (Run(sets, cpu, tmp_path / name, self.kind) for name in ("undisturbed", "broken"))
        expected = undisturbed.go()
        broken.go(results=2)
        assert numbers(broken.go()) == numbers(expected)
        weights = undisturbed.weights()
        assert all(torch.equal(value, weights[name]) for name, value in broken.weights().items())

    def test_the_encoder_is_all_that_a_stage_needs(self, image_set, cpu, tmp_path):
        """The trained encoder is the module `encoder`, with the names and shapes of a separate encoder, and training changes it.

        All trained weights are in the network, which a checkpoint contains.
        """
        method, alone = self.method(), build_encoder(ENCODER, 0)
        assert {id(each) for each in method.parameters()} == {id(each) for each in method.network.parameters()}
        assert {id(each) for each in method.buffers()} == {id(each) for each in method.network.buffers()}
        whole = image_set(8, IMAGE_PX)
        run = Run([whole, whole], cpu, tmp_path / "x", self.kind, length=Length(1, None, None))
        run.go()
        trained, start = run.state.model.network["encoder"].state_dict(), alone.state_dict()
        assert {name: tensor.shape for name, tensor in trained.items()} == {name: each.shape for name, each in start.items()}
        assert not torch.equal(next(iter(trained.values())), next(iter(start.values())))

    def test_nothing_uses_global_random_state(self, image_set):
        """Weights, views, output and loss depend only on seeds and generators, and torch's random state is unchanged."""
        images, found = self.batch(image_set, 4), []
        for seed in (1, 2):
            torch.manual_seed(seed)
            expected = torch.rand(3)
            torch.manual_seed(seed)
            method = self.method().eval()
            views = method.views(images, 4, np.arange(4), torch.Generator().manual_seed(0))
            output = method(normalise(views))
            found.append((views, output, method.loss(output, 4, World())[0], *method.network.state_dict().values()))
            assert torch.equal(torch.rand(3), expected)
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
