"""Records of ten thousand trials of fifty epochs, written by the real driver, beside naive ways in the same run. It never fails:

pytest -m slow tests/benchmarks/test_records_scale.py -s
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from rich.console import Console

from segsweep.config import LogUniform, Study, Target
from segsweep.records import load
from segsweep.records.writer import RecordWriter
from segsweep.store.folder import FolderStore
from segsweep.sweep.declaration import declaration
from segsweep.sweep.driver import Driver
from segsweep.sweep.outage import Outage
from segsweep.sweep.plan import Plan, make_plan
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import PlainView
from segsweep.sweep.rows import planned_rows
from segsweep.sweep.tally import EarlierProgress
from segsweep.tasks.messages import Body, Finished, Message, Started
from segsweep.tasks.task import Task
from segsweep.training.loop import EpochResult
from segsweep.training.metrics import Scores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CELLS, TUNING, SEEDS, EPOCHS = 1000, 7, 3, 50  # 10,000 trials
RUNNING = 8
STRETCH = 1000  # trials over which "early" and "late" are averaged
CLASSES = ("background", "foreground")
TESTED = "accuracy mean_accuracy precision recall f1 iou mean_iou weighted_iou dice iou_background iou_foreground boundary_f loss"
QUERY = "select source, avg(test_iou) from trials where phase='confirm' group by 1"


def many_trials() -> Plan:
    fractions = [number / CELLS for number in range(1, CELLS + 1)]
    study = Study(
        name="many",
        target=Target("pets"),
        compare={"source": ["random"], "fraction": fractions},
        tune={"learning_rate": LogUniform(1e-5, 1e-2)},
        fixed={"epochs": EPOCHS, "precision": "float32"},
        trials_per_cell=TUNING,
        seeds=SEEDS,
    )
    return make_plan(study, lambda *names: f"data {names}")


def messages(task: Task, rng: random.Random) -> Iterator[Body]:
    """Return the messages of a worker about a trial, with invented numbers."""
    yield Started({"device": "cuda:0", "train_images": 2208, "val_images": 736, "transfer_report": "kept all 120 tensors " * 20})
    for epoch in range(1, EPOCHS + 1):
        val = Scores(*(rng.random() for _ in range(8)), class_iou=(rng.random(), rng.random()))
        yield EpochResult(
            epoch, 138 * epoch, rng.random(), rng.random(), val, rng.random(), 1e-3, 3.5, 620.5, epoch == EPOCHS, 16
        )
    if task.spec.phase == "tune":
        yield Finished({"micro_batch": 16})
        return
    facts = {"micro_batch": 16, "test_images": 5, **{f"test_{name}": rng.random() for name in TESTED.split()}}
    images = [{"image": f"picture {at}", **dict.fromkeys(("accuracy", "iou", "dice", "boundary_f"), 0.5)} for at in range(5)]
    confusions = [{"truth": a, "predicted": b, "pixels": rng.randrange(10**9)} for a in CLASSES for b in CLASSES]
    pixels = {name: rng.randrange(10**9) for name in ("hit", "true", "predicted")}
    counts = [{"image": image["image"], "class": name, **pixels} for image in images for name in CLASSES]
    yield Finished(facts, {"images": images, "counts": counts, "confusions": confusions})


@dataclass
class Took:
    """Durations of calls in ms, kept as sums, so that measuring uses no memory."""

    calls: int = 0
    total: float = 0.0
    longest: float = 0.0

    def __call__(self, work: Callable[[], Any]) -> Any:
        """Return the result of a call, and record its duration."""
        start = time.perf_counter()
        result = work()
        took = 1000 * (time.perf_counter() - start)
        self.calls, self.total, self.longest = self.calls + 1, self.total + took, max(self.longest, took)
        return result

    @property
    def mean(self) -> float:
        return self.total / self.calls

    def __str__(self) -> str:
        return f"{self.mean:.2f} ms (longest {self.longest:.0f})"


@dataclass
class Stretch:
    """Durations in the driver over a range of trials, and MiB of its process at the end."""

    epoch: Took = field(default_factory=Took)
    end: Took = field(default_factory=Took)
    next: Took = field(default_factory=Took)
    memory_mib: float = 0.0


def drive(driver: Driver) -> list[Stretch]:
    """Let a driver schedule and record all trials, eight at a time, and return the cost by ranges of trials."""
    rng, running, stretches, ended = random.Random(0), deque[tuple[Task, Iterator[Body]]](), [Stretch()], 0
    while True:
        now = stretches[-1]
        while len(running) < RUNNING and (assignment := now.next(driver.next_task)) is not None:
            task = assignment.task
            driver.begin(task)
            running.append((task, messages(task, rng)))
        if not running:
            return stretches[:-1]
        task, bodies = running.popleft()
        body = next(bodies)
        took = {EpochResult: now.epoch, Finished: now.end}.get(type(body), Took())
        if took(partial(driver.handle, task, Message(task.identity, body))):
            running.append((task, bodies))
        elif (ended := ended + 1) % STRETCH == 0:
            now.memory_mib = psutil.Process().memory_info().rss / 2**20
            stretches.append(Stretch())


def write_many(folder: Path) -> list[Stretch]:
    plan = many_trials()
    with RecordWriter(folder / "many") as writer, (folder / "log").open("w") as log:
        identity = writer.declare(declaration(plan))
        planning = Took()
        planner = Planner(plan, lambda *_: None)
        planning(lambda: writer.plan(planned_rows(planner)))
        print(f"\nkeeping the plan of {plan.trials} trials: {planning}")
        view = PlainView(Console(file=log))
        view.begin(plan, EarlierProgress(), 0.0)
        store = FolderStore(folder / "store")
        return drive(Driver(planner, writer, store, view, Outage(store, writer.folder, view.notify), identity))


def read_parts(folder: Path) -> list[pd.DataFrame]:
    """Return every table of every part by pandas, joined; repeated rows would count twice."""
    files = sorted((folder / "parts").glob("*/*.parquet"))
    names = sorted({file.name for file in files})
    return [pd.concat([pd.read_parquet(file) for file in files if file.name == name]) for name in names]


def test_records_of_ten_thousand_trials(tmp_path: Path) -> None:
    """Measure early and late appends, loading, SQL queries and memory, beside a CSV rewritten per epoch and a read per part."""
    stretches, folder = write_many(tmp_path), tmp_path / "many"
    early, late = stretches[0], stretches[-1]
    loading, reading, asking, once, again = Took(), Took(), Took(), Took(), Took()
    records = [loading(lambda: load(folder)) for _ in range(3)][-1]
    assert len(asking(lambda: records.sql(QUERY))) == 1
    reading(lambda: read_parts(folder))
    assert len(records.trials) == CELLS * (TUNING + SEEDS)
    assert len(records.epochs) == EPOCHS * len(records.trials)
    once(lambda: records.epochs[: STRETCH * EPOCHS].to_csv(tmp_path / "epochs.csv", index=False))
    again(lambda: records.epochs.to_csv(tmp_path / "epochs.csv", index=False))
    for when, stretch, naive in (("first", early, once), ("last", late, again)):
        print(f"{when} {STRETCH} trials: an epoch {stretch.epoch.mean:.3f} ms (longest {stretch.epoch.longest:.1f});", end=" ")
        print(f"one CSV written anew {naive.mean:.0f} ms, ratio {naive.mean / stretch.epoch.mean:.0f};", end=" ")
        print(f"an end {stretch.end}; the next work {stretch.next}; memory of the process {stretch.memory_mib:.0f} MiB")
    print(f"load {loading}; a pandas read per part {reading.mean:.0f} ms, ratio {reading.mean / loading.mean:.1f}; SQL {asking}")
