"""The number of workers that fit, and their resources."""

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
        ([SMALL_MEMORY], {}, 1000, (4, 4, 0)),  # two GiB per worker
        ([GPU], {}, 1000, (4, 4, 1)),
        ([GPU], {"gpus_per_trial": 0.5}, 1000, (8, 2, 0.5)),
        ([GPU], {"gpus_per_trial": 0.3}, 1000, (12, 1, 0.3)),
        ([GPU], {"gpus_per_trial": 0.1}, 1000, (40, 0.3333, 0.1)),  # more workers than cores: a share of a core each
        ([GPU], {"max_concurrent": 2}, 1000, (2, 8, 1)),
        ([GPU], {"device": "cpu"}, 1000, (16, 1, 0)),
        ([HEAD, GPU, BIG_GPU], {}, 1000, (12, 4, 1)),  # the machine without GPUs has no worker
        ([GPU], {"workers_per_trial": 4}, 1, (4, 4, 1)),
    ],
)
def test_workers_fit_the_machines(nodes, options, at_most, expected):
    """Cores are divided among the workers that GPUs, memory, options and the number of tasks allow."""
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
def test_options_that_do_not_fit_are_an_error(nodes, options, message):
    """An option that the machines cannot fulfil is a one-line error that names it."""
    with pytest.raises(UserError, match=message):
        fit_pool(nodes, Options(**options), at_most=100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "--threads 0: must be at least 1"),
        ({"workers_per_stage": -1}, "--workers-per-stage -1: must be at least 1"),
        ({"gpus_per_trial": 2.0}, "--gpus-per-trial 2: must be 1 or a share of one GPU"),
        ({"gpus_per_trial": 0.0}, "--gpus-per-trial 0: must be 1 or a share of one GPU"),
        ({"gpus_per_trial": 0.5, "workers_per_trial": 2}, "need one GPU each"),
    ],
)
def test_options_are_checked_when_they_are_made(options, message):
    """A meaningless number is rejected, whatever the machines are."""
    with pytest.raises(UserError, match=message):
        Options(**options)


@pytest.mark.parametrize("node", [LAPTOP, GPU])
def test_workers_of_a_deterministic_run_have_a_deterministic_device(node):
    """The option reaches the device of every worker, and the pool's text states it."""
    plain, pool = (fit_pool([node], Options(deterministic=chosen), 4) for chosen in (False, True))
    assert (plain.size.device.deterministic, pool.size.device.deterministic) == (False, True)
    assert "deterministic" in str(pool)
    assert "deterministic" not in str(plain)


def test_this_machine_has_cores_and_memory():
    """The description of this machine matches its operating system."""
    node = this_machine()
    assert node.cpus >= 1
    assert node.memory_gib > 1


def test_a_pool_grows_with_the_machines_up_to_its_limit():
    """Machines that join add workers of the same size, up to `--max-concurrent` and the number of tasks."""
    pool = fit_pool([GPU], Options(max_concurrent=10), at_most=100)
    assert (pool.workers, pool.most) == (4, 10)
    assert sum(pool.size.places(node) for node in (GPU, BIG_GPU, HEAD)) == 12
    assert fit_pool([GPU], Options(), at_most=6).most == 6
    assert fit_pool([GPU], Options(workers_per_stage=2), at_most=6).most == 12


def test_resources_of_other_jobs_are_not_free():
    """On a machine with 4 GPUs, 3 of them in use, one worker fits; its cores count, too."""
    size = fit_pool([GPU], Options(), at_most=100).size
    assert size.places(GPU) == 4
    assert free_places([replace(GPU, free_cpus=16.0, free_gpus=1.0)], size) == 1
    assert free_places([replace(GPU, free_cpus=7.0, free_gpus=4.0), GPU], size) == 1 + 4


def test_a_too_small_machine_is_a_separate_error():
    """A machine that is too small is a different error from an option that no machine can fulfil."""
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
def test_a_required_machine_is_described_by_its_resources(bundle, words):
    """The required machine is described by its cores and GPUs."""
    assert machine_for(bundle) == f"a machine with {words}"
