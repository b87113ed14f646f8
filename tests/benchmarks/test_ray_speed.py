"""The time of Ray between trials, beside a fresh process for every trial, in the same run. It is printed, and never fails:

pytest -m slow tests/benchmarks -s
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import ray

import segsweep
from segsweep.config import Study
from segsweep.sweep.driver import Driver
from segsweep.tasks.messages import Message
from segsweep.tasks.task import Task
from segsweep.training.loop import EpochResult

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRIALS, FRESH = 60, 4


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Start a cluster with one slot, so that trials follow each other on one worker."""
    ray.shutdown()
    ray.init(address="local", num_cpus=1, log_to_driver=False, object_store_memory=2**28)
    yield
    ray.shutdown()


class Clock:
    """Records when each trial's first training step started and when its last message arrived, and the resources of the
    processes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first_step: dict[str, float] = {}
        self.end: dict[str, float] = {}
        self.memory_mib: list[float] = []
        self.processes: list[int] = []
        handle = Driver.handle

        def noting(driver: Driver, task: Task, message: Message) -> bool:
            now = time.time()
            if isinstance(message.body, EpochResult) and message.body.epoch == 1:
                self.first_step[task.identity] = now - message.body.seconds
            goes_on = handle(driver, task, message)
            if not goes_on:
                self.end[task.identity] = now
                self._count()
            return goes_on

        monkeypatch.setattr(Driver, "handle", noting)

    def _count(self) -> None:
        here = psutil.Process()
        ours = [here, *here.children(recursive=True)]
        self.processes.append(len(ours))
        self.memory_mib.append(sum(process.memory_full_info().pss for process in ours) / 2**20)

    def gaps(self) -> list[float]:
        """Return the seconds from each trial's last message to the first step of the next trial."""
        order = sorted(self.end, key=self.end.__getitem__)
        return [self.first_step[after] - self.end[before] for before, after in pairwise(order)]


def many(study: Study, count: int) -> Study:
    return replace(study, compare={"source": ["random"]}, fixed={**study.fixed, "epochs": 1}, trials_per_cell=count - 1, seeds=1)


@pytest.mark.usefixtures("one_cpu")
def test_seconds_between_trials(tiny_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run sixty tiny trials on one warm worker, and a few with a fresh process each."""
    warm = Clock(monkeypatch)
    segsweep.run(many(tiny_study, TRIALS), out=tmp_path / "warm" / "runs", threads=1)
    monkeypatch.undo()
    tune_config = ray.tune.TuneConfig
    monkeypatch.setattr(ray.tune, "TuneConfig", lambda **values: tune_config(**{**values, "reuse_actors": False}))
    fresh = Clock(monkeypatch)
    segsweep.run(many(tiny_study, FRESH), out=tmp_path / "fresh" / "runs", threads=1)
    gaps, naive = sorted(warm.gaps()), sorted(fresh.gaps())
    assert len(gaps) == TRIALS - 1
    assert len(naive) == FRESH - 1
    median, most = statistics.median(gaps), gaps[int(0.95 * len(gaps))]
    print(
        f"\nfrom one trial's end to the next one's first step: warm median {median:.3f} s, 95th percentile {most:.3f} s; "
        f"fresh process {statistics.median(naive):.1f} s, ratio {statistics.median(naive) / median:.0f}"
    )
    for name, values in (("processes", warm.processes), ("memory (PSS) of all, MiB", warm.memory_mib)):
        print(f"{name}: after the first trial {values[0]:.0f}, after {TRIALS} {values[-1]:.0f}")
