"""How many workers fit, and what each of them gets."""

import pytest

from segsweep.errors import UserError
from segsweep.sweep.options import Options
from segsweep.sweep.worker_pool import Node, fit_pool, this_machine

LAPTOP = Node(cpus=2, gpus=0, memory_gib=24)
SERVER = Node(cpus=64, gpus=0, memory_gib=256)
SMALL_MEMORY = Node(cpus=16, gpus=0, memory_gib=8)
GPU = Node(cpus=16, gpus=4, memory_gib=128)
BIG_GPU = Node(cpus=96, gpus=8, memory_gib=1000)
HEAD = Node(cpus=4, gpus=0, memory_gib=16)


@pytest.mark.parametrize(
    ("nodes", "options", "at_most", "expected"),  # expected: workers, cores and GPUs of each
    [
        ([LAPTOP], {}, 48, (2, 1, 0)),
        ([LAPTOP], {"threads": 2}, 48, (1, 2, 0)),
        ([LAPTOP], {"max_concurrent": 1}, 48, (1, 2, 0)),
        ([SERVER], {}, 1000, (64, 1, 0)),
        ([SERVER], {}, 4, (4, 16, 0)),  # fewer trials than cores: more threads each
        ([SERVER], {"threads": 8}, 1000, (8, 8, 0)),
        ([SERVER, SERVER], {"max_concurrent": 8}, 1000, (8, 16, 0)),
        ([SMALL_MEMORY], {}, 1000, (4, 4, 0)),  # two GiB each
        ([GPU], {}, 1000, (4, 4, 1)),
        ([GPU], {"gpus_per_trial": 0.5}, 1000, (8, 2, 0.5)),
        ([GPU], {"gpus_per_trial": 0.3}, 1000, (12, 1, 0.3)),
        ([GPU], {"gpus_per_trial": 0.1}, 1000, (40, 0.3333, 0.1)),  # more workers than cores: a part of a core each
        ([GPU], {"max_concurrent": 2}, 1000, (2, 8, 1)),
        ([GPU], {"device": "cpu"}, 1000, (16, 1, 0)),
        ([HEAD, GPU, BIG_GPU], {}, 1000, (12, 4, 1)),  # the machine without GPUs works for none
        ([GPU], {"workers_per_trial": 4}, 1, (4, 4, 1)),
    ],
)
def test_workers_fit_the_machines(nodes, options, at_most, expected):
    """Cores are divided among the workers that GPUs, memory, options and the amount of work allow."""
    pool = fit_pool(nodes, Options(**options), at_most)
    assert (pool.workers, pool.cpus, pool.gpus) == (expected[0], pytest.approx(expected[1]), expected[2])
    assert pool.device.name == ("cuda" if expected[2] else "cpu")
    assert pool.device.threads == max(1, int(expected[1]))


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ([LAPTOP], {"gpus_per_trial": 1.0}, "--gpus-per-trial 1: there are no GPUs here; leave it out to work on the CPU cores"),
        ([LAPTOP], {"device": "cuda"}, "--device cuda: there are no GPUs here"),
        ([GPU], {"device": "cuda:1"}, "--device cuda:1: Ray gives workers their GPUs; set CUDA_VISIBLE_DEVICES"),
        ([LAPTOP], {"threads": 3}, "--threads 3: the largest machine has 2 cores"),
        ([LAPTOP], {"workers_per_stage": 3}, "--workers-per-stage 3: only 2 workers fit here"),
        ([GPU], {"workers_per_trial": 8}, "--workers-per-trial 8: only 4 workers fit here"),
        ([GPU], {"workers_per_trial": 2, "max_concurrent": 1}, "--workers-per-trial 2: only 1 workers fit here"),
    ],
)
def test_what_does_not_fit_is_said(nodes, options, message):
    """An option that the machines cannot fulfil is one line that names it."""
    with pytest.raises(UserError, match=message):
        fit_pool(nodes, Options(**options), at_most=100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "--threads 0: must be at least 1"),
        ({"workers_per_stage": -1}, "--workers-per-stage -1: must be at least 1"),
        ({"gpus_per_trial": 2.0}, "--gpus-per-trial 2: must be 1 or a share of one GPU"),
        ({"gpus_per_trial": 0.0}, "--gpus-per-trial 0: must be 1 or a share of one GPU"),
        ({"gpus_per_trial": 0.5, "workers_per_trial": 2}, "need a whole GPU each"),
    ],
)
def test_options_are_checked_when_they_are_made(options, message):
    """A number that means nothing is refused, whatever the machines are."""
    with pytest.raises(UserError, match=message):
        Options(**options)


@pytest.mark.parametrize("node", [LAPTOP, GPU])
def test_workers_of_a_deterministic_run_have_a_deterministic_device(node):
    """The option reaches the device that every worker is given, and the words for the pool."""
    plain, pool = (fit_pool([node], Options(deterministic=chosen), 4) for chosen in (False, True))
    assert (plain.device.deterministic, pool.device.deterministic) == (False, True)
    assert "deterministic" in str(pool)
    assert "deterministic" not in str(plain)


def test_this_machine_has_cores_and_memory():
    """The machine at hand is described by what its operating system says."""
    node = this_machine()
    assert node.cpus >= 1
    assert node.memory_gib > 1
