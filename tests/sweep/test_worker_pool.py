"""How many workers fit, and what each of them gets."""

from dataclasses import replace

import pytest

from segsweep.errors import UserError
from segsweep.sweep.options import Options
from segsweep.sweep.worker_pool import Node, TooSmallError, fit_pool, free_places, machine_for, this_machine

LAPTOP = Node(cpus=2, gpus=0, memory_gib=24)
SERVER = Node(cpus=64, gpus=0, memory_gib=256)
SMALL_MEMORY = Node(cpus=16, gpus=0, memory_gib=8)
GPU = Node(cpus=16, gpus=4, memory_gib=128)
BIG_GPU = Node(cpus=96, gpus=8, memory_gib=1000)
BUSY = Node(cpus=2, gpus=0, memory_gib=8, name="node a", free_cpus=0.0, free_gpus=0.0)
EMPTY_HEAD = Node(cpus=0, gpus=0, memory_gib=16, name="node head")
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
    assert (pool.workers, pool.size.cpus, pool.size.gpus) == (expected[0], pytest.approx(expected[1]), expected[2])
    assert pool.size.device.name == ("cuda" if expected[2] else "cpu")
    assert pool.size.device.threads == max(1, int(expected[1]))


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        (
            [LAPTOP],
            {"gpus_per_trial": 1.0},
            "--gpus-per-trial 1: no machine has a GPU: this machine has 2 cores; omit the option",
        ),
        ([LAPTOP], {"device": "cuda"}, "--device cuda: no machine has a GPU"),
        ([GPU], {"device": "cuda:1"}, "--device cuda:1: Ray assigns GPUs to workers; restrict them with CUDA_VISIBLE_DEVICES"),
        ([LAPTOP], {"threads": 3}, "--threads 3: no machine has 3 cores: this machine has 2 cores"),
        ([BUSY], {"threads": 3}, r"--threads 3: no machine has 3 cores: node a has 2 cores \(0 free\)"),
        ([GPU], {"threads": 17}, "--threads 17: no machine has 17 cores beside a GPU: this machine has 16 cores and 4 GPUs"),
        ([EMPTY_HEAD], {}, "no machine has a core for a worker: node head has 0 cores"),
        ([], {}, "no machine has a core for a worker: the cluster has none"),
        ([EMPTY_HEAD] * 10, {}, "node head has 0 cores, and 2 more$"),
        ([LAPTOP], {"workers_per_stage": 3}, "--workers-per-stage 3: only 2 workers fit"),
        ([GPU], {"workers_per_trial": 8}, "--workers-per-trial 8: only 4 workers fit"),
        (
            [GPU],
            {"workers_per_trial": 2, "max_concurrent": 1},
            "--workers-per-trial 2: needs more workers than --max-concurrent 1 allows",
        ),
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
    assert (plain.size.device.deterministic, pool.size.device.deterministic) == (False, True)
    assert "deterministic" in str(pool)
    assert "deterministic" not in str(plain)


def test_this_machine_has_cores_and_memory():
    """The machine at hand is described by what its operating system says."""
    node = this_machine()
    assert node.cpus >= 1
    assert node.memory_gib > 1


def test_a_pool_grows_with_the_machines_up_to_what_is_allowed():
    """Machines that join hold further workers of the same size, up to `--max-concurrent` and the tasks that there may be."""
    pool = fit_pool([GPU], Options(max_concurrent=10), at_most=100)
    assert (pool.workers, pool.most) == (4, 10)
    assert sum(pool.size.places(node) for node in (GPU, BIG_GPU, HEAD)) == 12
    assert fit_pool([GPU], Options(), at_most=6).most == 6
    assert fit_pool([GPU], Options(workers_per_stage=2), at_most=6).most == 12


def test_places_that_others_hold_are_not_free():
    """Of a machine with 4 GPUs of which a job holds 3, one place is free; its cores count, too."""
    size = fit_pool([GPU], Options(), at_most=100).size
    assert size.places(GPU) == 4
    assert free_places([replace(GPU, free_cpus=16.0, free_gpus=1.0)], size) == 1
    assert free_places([replace(GPU, free_cpus=7.0, free_gpus=4.0), GPU], size) == 1 + 4


def test_only_what_another_machine_could_mend_is_waited_for():
    """A machine that is too small is another error than an option that no machine can fulfil."""
    for options in ({"device": "cuda:1"}, {"workers_per_trial": 2, "max_concurrent": 1}):
        with pytest.raises(UserError) as raised:
            fit_pool([LAPTOP], Options(**options), at_most=100)
        assert not isinstance(raised.value, TooSmallError)
    with pytest.raises(TooSmallError):
        fit_pool([LAPTOP], Options(device="cuda"), at_most=100)


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        ({"CPU": 1.0}, "1 core"),
        ({"CPU": 4.0, "GPU": 1.0}, "4 cores and 1 GPU"),
        ({"CPU": 2.0, "GPU": 0.5}, "2 cores and 0.5 GPUs"),
    ],
)
def test_a_wanted_machine_is_named_by_what_it_has(bundle, words):
    """What is waited for is said in cores and GPUs."""
    assert machine_for(bundle) == f"a machine with {words}"
