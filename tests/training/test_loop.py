import itertools
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from segsweep.config import Loss
from segsweep.config.normalisation import HALF, IMAGENET
from segsweep.config.user_objects import register
from segsweep.data.dataset import IGNORE
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.training import loop
from segsweep.training.batches import normalise
from segsweep.training.device import Device
from segsweep.training.loop import EpochResult, NonFiniteLossError, best_result, start_state, train

PINNED = [  # training and validation loss of unet16 on drawn images, seed 3, learning rate 3e-4
    (0.671917, 0.663757),
    (0.646238, 0.646590),
    (0.648808, 0.627270),
]
PIN_TOLERANCE = 0.01  # relative; Adam blows rounding up: other instruction sets differ by 0.6 %, at a rate of 1e-3 by 2 %
TIMES = ("seconds", "images_per_second", "cpu_seconds")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Run:
    """A run with one checkpoint: each `go` builds model and state again and resumes from it, as a new process does."""

    def __init__(
        self,
        train_set,
        val_set,
        recipe,
        device,
        checkpoint,
        name="unet4",
        seed=3,
        policy="none",
        norm="eval",
        sigmoid_class=None,
    ):
        self.sets, self.recipe, self.device, self.checkpoint = (train_set, val_set), recipe, device, checkpoint
        self.name, self.seed, self.policy, self.norm = name, seed, policy, norm
        self.sigmoid_class, self.state = sigmoid_class, None

    def go(self, results=None) -> list[EpochResult]:
        """Train until there are `results` results, then stop; None trains to the end."""
        model = build_model(self.name, len(self.sets[0].data.classes), seed=0, sigmoid_class=self.sigmoid_class)
        freeze(model, self.policy, frozen_norm=self.norm)
        self.state = start_state(model, self.recipe, self.device, self.checkpoint)
        chance = {"seed": self.seed, "device": self.device, "checkpoint": self.checkpoint}
        running = train(self.state, *self.sets, self.recipe, **chance)
        taken = list(itertools.islice(running, results))
        running.close()
        return taken

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.state.model.network.state_dict().items()}


def numbers(results: list[EpochResult]) -> list[dict]:
    """Return results as plain values, without measured times."""
    return [{name: value for name, value in asdict(result).items() if name not in TIMES} for result in results]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def run(image_set, recipe, cpu, tmp_path):
    """Make a run whose standard is short: 6 images to train on, 3 to validate."""
    count = itertools.count()

    def make(name="unet4", image_px=16, policy="none", norm="eval", seed=3, train_count=6, device=cpu, one=None, **values) -> Run:
        whole = image_set(train_count + 3, image_px, ignored=True)
        members = np.split(whole.members, [train_count])
        sets = [replace(whole, members=part) for part in members]
        return Run(*sets, recipe(**values), device, tmp_path / f"{next(count)}.safetensors", name, seed, policy, norm, one)

    return make


def test_loss_curve_is_pinned(run):
    """The losses of three epochs are these; a change that should not change numbers must not change them."""
    found = [(result.train_loss, result.val_loss) for result in run(name="unet16", learning_rate=3e-4).go()]
    np.testing.assert_allclose(found, PINNED, rtol=PIN_TOLERANCE)


def test_it_learns(run):
    """In a few epochs, the loop learns images whose brightness determines the class."""
    results = run(name="unet16", epochs=8, learning_rate=5e-3, train_count=12).go()
    assert results[-1].train_loss < 0.5 * results[0].train_loss
    assert max(result.val.iou for result in results) > 0.8


CONFIGURATIONS = {
    "plain": {},
    "published encoder": {"name": "linknet-mobilenet_v2", "image_px": 32, "epochs": 2, "train_count": 4},
    "dropout": {"name": "deeplabv3plus-mobilenet_v2", "image_px": 32, "epochs": 2, "train_count": 4},
    "frozen": {"name": "linknet-mobilenet_v2", "image_px": 32, "epochs": 2, "train_count": 4, "policy": "encoder"},
    "frozen in train mode": {"policy": "encoder", "norm": "train", "ema": 0.9},
    "adamw dice bfloat16": {"optimizer": "adamw", "weight_decay": 0.01, "loss": "dice", "precision": "bfloat16"},
    "steps": {"steps": 7, "validations": 3},
    "average and schedule": {"ema": 0.9, "schedule": "one_cycle", "optimizer": "sgd", "warmup": 0.2},
    "copies": {"augmentation": "rotate_flip_jitter_blur", "augmented_copies": 1, "normalisation": HALF, "epochs": 2},
    "unfreezing": {"policy": "encoder", "unfreeze_every_epochs": 1, "layer_decay": 0.5, "epochs": 3, "optimizer": "rmsprop"},
    "weighted": {"loss": "0.5*weighted_cross_entropy+lovasz", "epochs": 2},
}


@pytest.mark.parametrize("values", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_resumed_run_is_the_same_bit_for_bit(run, values):
    """A run that is interrupted after every epoch and resumed gives the same results and weights as an uninterrupted run."""
    whole, parted = run(**values), run(**values)
    expected = numbers(whole.go())
    before = []
    for count in range(1, len(expected) + 1):
        results = parted.go(count)
        assert results[:-1] == before  # the old results come first, times included
        assert numbers(results) == expected[:count]
        before = results
    assert equal(parted.weights(), whole.weights())
    assert equal(parted.state.best, whole.state.best)
    assert best_result(parted.state).epoch == best_result(whole.state).epoch


def test_dropout_and_flips_do_matter(run):
    """The resumed runs above are not equal by accident: dropout and flips change the numbers."""
    values = CONFIGURATIONS["dropout"]
    base = numbers(run(**values).go(1))
    assert numbers(run(**values, augmentation="none").go(1)) != base
    assert numbers(run(**values, seed=4).go(1)) != base


def test_finished_run_yields_its_results_without_training(run, monkeypatch):
    """A finished run that is started again yields all its results without training."""
    whole = run()
    expected = whole.go()
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: pytest.fail("it trained again"))
    assert whole.go() == expected


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1], lambda b: b[:0], lambda b: bytes(len(b))])
def test_damaged_checkpoint_starts_from_the_beginning(run, damage):
    """With a cut, empty or zeroed checkpoint, the run starts from the beginning and ends with the same numbers."""
    damaged = run()
    expected = numbers(damaged.go())
    damaged.checkpoint.write_bytes(damage(damaged.checkpoint.read_bytes()))
    assert numbers(damaged.go()) == expected


def test_the_global_random_state_is_neither_used_nor_changed(run):
    """Results depend only on the seed, and torch's global random state does not change."""
    values = CONFIGURATIONS["dropout"]
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = numbers(run(**values).go(1))
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(2)
    assert numbers(run(**values).go(1)) == first


IOUS, LOSSES = (0.5, 0.75, 0.25, 0.75, 0.6), (0.4, 0.3, 0.1, 0.2, 0.5)
UNDEFINED = (None,) * 5


def measuring(ious, losses):
    """Return counts and a loss for each validation in order; an IoU of None is a split without foreground, all predicted as
    foreground.
    """
    measured = iter(zip(ious, losses, strict=True))

    def change(found):
        iou, loss = next(measured)
        hit = 0 if iou is None else round(1000 * iou)
        confusion = np.array([[1000, 1000], [0, 0]]) if iou is None else np.array([[1000, 0], [1000 - hit, hit]])
        each = np.stack([np.diag(confusion), confusion.sum(1), confusion.sum(0)])
        return replace(found, loss=loss, confusion_CC=confusion, counts_N3C=each[None])

    return change


@pytest.mark.parametrize(
    ("keep", "ious", "kept"),
    [
        ("val_iou", IOUS, [1, 2, 4]),  # of equal ones the one with the lower loss
        ("val_iou", UNDEFINED, [1, 2, 3]),  # the loss decides where no IoU is defined
        ("val_loss", IOUS, [1, 2, 3]),
        ("val_dice", IOUS, [1, 2, 4]),
        ("val_dice", UNDEFINED, [1, 2, 3]),  # all are 0
        ("last", IOUS, [1, 2, 3, 4, 5]),
    ],
)
@pytest.mark.parametrize("broken_off_after", [None, 3])
def test_one_measure_decides_which_epoch_is_kept(run, monkeypatch, keep, ious, kept, broken_off_after):
    """The weights of the epoch with the best reading by `keep` are kept, also if a run is interrupted and resumed."""
    change, real, seen = measuring(ious, LOSSES), loop.evaluate, []

    def measured(model, *args, **values):
        seen.append({name: tensor.clone() for name, tensor in model.network.state_dict().items()})
        return change(real(model, *args, **values))

    monkeypatch.setattr(loop, "evaluate", measured)
    whole = run(epochs=5, keep=keep)
    if broken_off_after:
        whole.go(broken_off_after)
    results = whole.go()
    assert [result.epoch for result in results if result.best] == kept
    assert best_result(whole.state) == results[kept[-1] - 1]
    assert equal(whole.state.best, seen[kept[-1] - 1])
    assert not equal(whole.state.best, seen[kept[-1] % 5])


@pytest.mark.parametrize("broken_off_after", [None, 1, 3])
def test_plateau_ends_a_run(run, monkeypatch, broken_off_after):
    """With patience 2, a run ends two epochs after its best, also if it is interrupted in between."""
    losses, real = iter([0.5, 0.4, 0.6, 0.4, 0.1, 0.1]), loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *args, **values: replace(real(*args, **values), loss=next(losses)))
    whole = run(epochs=9, patience_epochs=2, keep="val_loss")
    if broken_off_after:
        whole.go(broken_off_after)
    assert [result.val_loss for result in whole.go()] == [0.5, 0.4, 0.6, 0.4]
    assert best_result(whole.state).epoch == 2


@pytest.mark.parametrize(("steps", "validations"), [(7, 3), (3, 3), (1, 1), (10, 4), (5, None)])
def test_steps_mode_makes_exactly_the_given_steps(run, monkeypatch, steps, validations):
    """With `steps`, the optimiser makes exactly this number of steps, and there is one result per validation, equally spaced."""
    made = []
    real = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: (made.append(1), real(self))[1])
    results = run(steps=steps, validations=validations).go()
    count = validations or 1
    assert [result.epoch for result in results] == list(range(1, count + 1))
    assert [result.steps for result in results] == [steps * number // count for number in range(1, count + 1)]
    assert len(made) == steps


@pytest.fixture
def batches_of(recorded):
    """Train, and return the numbers of the images in each batch, in order."""

    def train_recorded(run_of) -> list[list[int]]:
        train_set, val_set = run_of.sets
        source = recorded(train_set)
        run_of.sets = (source, val_set)
        run_of.go()
        return [sorted(train_set.members[batch].tolist()) for batch in source.seen]

    return train_recorded


def test_epochs_and_steps_see_the_same_batches(run, batches_of):
    """A run of as many steps as three epochs have sees the same batches in the same order, however they are divided."""
    by_epoch = batches_of(run(epochs=3, train_count=7))
    assert len(by_epoch) == 6
    assert all(sorted(by_epoch[n] + by_epoch[n + 1]) == list(range(7)) for n in (0, 2, 4))
    for validations in (1, 4):
        assert batches_of(run(steps=6, validations=validations, train_count=7)) == by_epoch


def test_order_depends_only_on_the_seed(run, batches_of):
    """Runs with one seed see the same batches for any model and learning rate; another seed sees others."""
    base = batches_of(run())
    assert batches_of(run(policy="encoder", learning_rate=1e-2, augmentation="none")) == base
    assert batches_of(run(seed=4)) != base


def test_last_batch_of_one_image_trains(run, batches_of):
    """Five images in batches of four train in one batch of five, which batch normalisation at 1x1 needs."""
    alone = run(name="unet-mobilenet_v2", image_px=32, train_count=5, epochs=1)
    assert [len(batch) for batch in batches_of(alone)] == [5]


@pytest.mark.parametrize("values", [{"learning_rate": 1e30}, {"learning_rate": 1e30, "precision": "bfloat16"}])
def test_loss_that_is_not_finite_ends_the_run_with_its_reason(run, values):
    """An infinite or NaN loss raises a one-line error that names the loss, the epoch and the learning rate."""
    broken = run(**values, epochs=4)
    pattern = r"(training|validation) loss is (nan|inf) in epoch \d at learning_rate=1e\+30"
    with pytest.raises(NonFiniteLossError, match=pattern) as caught:
        broken.go()
    assert re.fullmatch(pattern, str(caught.value))
    assert all(tensor.isfinite().all() for tensor in broken.state.best.values())


def test_bfloat16_is_close_to_float32(run):
    """A run in bfloat16 on the CPU keeps weights in float32, and its numbers are close to those of a run in float32."""
    exact, rounded = run(learning_rate=1e-4), run(learning_rate=1e-4, precision="bfloat16")
    for one, other in zip(exact.go(), rounded.go(), strict=True):
        assert other.train_loss != one.train_loss
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.15)
        assert other.val_loss == pytest.approx(one.val_loss, rel=0.15)
    assert {tensor.dtype for tensor in rounded.weights().values()} == {tensor.dtype for tensor in exact.weights().values()}


def test_weights_and_optimiser_are_channels_last(run):
    """Weights and optimiser slots are channels last, before and after a resume: the layout determines the speed on a GPU."""
    parted = run()
    for _ in range(2):
        parted.go(1)
        slots = parted.state.optimizer.state
        assert slots
        for parameter, held in slots.items():
            assert held["exp_avg"].stride() == parameter.stride()
            if parameter.dim() == 4:
                assert parameter.is_contiguous(memory_format=torch.channels_last)


def test_frozen_encoder_is_the_same_after_training(run):
    """A run with a frozen encoder leaves its weights and statistics equal bit by bit, and the optimiser has none of them."""
    frozen = run(name="linknet-mobilenet_v2", image_px=32, policy="encoder", epochs=1)
    start = build_model("linknet-mobilenet_v2", 2, seed=0).network.state_dict()
    frozen.go()
    after = frozen.weights()
    assert {name for name in start if torch.equal(start[name], after[name])} >= {n for n in start if n.startswith("encoder.")}
    assert not equal(start, after)
    trained = sum(p.numel() for group in frozen.state.optimizer.param_groups for p in group["params"])
    assert trained == frozen.state.model.parameter_counts()[0]


@pytest.mark.parametrize("ema", [None, 0.5])
def test_statistics_of_an_encoder_frozen_in_train_mode_are_kept_with_the_weights(run, ema):
    """A run with frozen_norm=train leaves the frozen encoder's parameters unchanged and keeps the statistics that training
    updated; a moving average of the weights has separate statistics, between the initial and the final ones.
    """
    frozen = run(policy="encoder", norm="train", epochs=1, ema=ema)
    start = build_model("unet4", 2, seed=0).network.state_dict()
    frozen.go()
    after, kept = frozen.weights(), frozen.state.best
    encoder = [name for name in start if name.startswith("encoder.")]
    means = [name for name in encoder if name.endswith("running_mean")]
    assert all(torch.equal(kept[name], start[name]) for name in encoder if name.endswith(".weight"))
    assert means
    assert not any(torch.equal(after[name], start[name]) for name in means)
    for name in means:
        if ema is None:
            assert torch.equal(kept[name], after[name])
        else:
            assert 0 < (kept[name] - start[name]).norm() < (after[name] - start[name]).norm()


def test_train_loss_weighs_images_equally(run):
    """The training loss is the mean over images: a batch counts by its size."""
    values = iter([1.0, 4.0])
    register({"own:told": Loss("told", lambda logits, _: logits.sum() * 0 + next(values, 2.0))})
    (result,) = run(epochs=1, loss="own:told").go()
    assert result.train_loss == pytest.approx((4 * 1.0 + 2 * 4.0) / 6)


def test_seconds_cover_training_and_validation(run):
    """Times are positive, and images per second are those of training only."""
    for result in run(epochs=2).go():
        assert 0 < 6 / result.images_per_second < result.seconds


@pytest.mark.gpu
@needs_gpu
@pytest.mark.usefixtures("deterministic")
@pytest.mark.filterwarnings("ignore:.*deterministic:UserWarning")  # the sum of a cross-entropy has no such algorithm
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gpu_run_resumes(run, precision):
    """On a GPU, a run in either precision finishes, and after an interruption it gives nearly the same numbers."""
    values = {"device": Device("cuda", 1), "precision": precision, "name": "unet-resnet18", "image_px": 32}
    whole, parted = run(**values), run(**values)
    expected = whole.go()
    parted.go(1)
    for one, other in zip(expected, parted.go(), strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-5)
        assert other.val_loss == pytest.approx(one.val_loss, rel=1e-5)
    assert all(tensor.is_cuda for tensor in parted.weights().values())


def test_one_logit_is_trained_as_a_script_does_with_binary_cross_entropy(run, cpu):
    """A run with one logit makes the steps, and keeps the weights, of a plain torch script: one channel, SGD, BCE with logits."""
    ours = run(image_px=32, train_count=8, epochs=1, augmentation="none", loss="bce", optimizer="sgd", learning_rate=0.01, one=1)
    ours.go()
    network = build_model("unet4", 2, seed=0, sigmoid_class=1).network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    train_set = ours.sets[0]
    batches = loop.epoch_batches(len(train_set), ours.recipe.batch_size, ours.seed, 0, 2)
    for images, masks in train_set.batches(batches, cpu):
        logit, counted = network(normalise(images, IMAGENET))[:, 0], masks != IGNORE
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(logit[counted], (masks == 1)[counted].float()).backward()
        optimizer.step()
    assert network.state_dict()["classifier.weight"].shape[0] == 1
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(ours.weights()[name], tensor, rtol=1e-3, atol=1e-5)
