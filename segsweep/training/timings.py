"""Timings of training and evaluation, kept in a text of the store: short probes, and times of real tasks.

No other module knows the format of the text. `VERSION` is its version; a text of another version is dropped.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from segsweep.store.protocol import SharedText

VERSION = 2  # 1: a pair of images/s per key, without a date
AGE_DAYS = 30  # an older timing is not used
STEADY = 0.8  # smallest share of CPU time in the wall time of one thread that nothing disturbs
DISAGREES = 1.5  # a probe that differs from the times of real tasks by a larger factor is measured again


@dataclass(frozen=True)
class Probe:
    """A measurement of a few training steps and evaluations on an idle worker.

    `train_seconds` and `evaluate_seconds` are wall seconds per image, `build_seconds` the time to build the model. `memory_bytes`
    is the peak that training adds to the memory of the device, `base_bytes` the resident memory of the process before (0 on
    GPUs), `weight_bytes` the size of the model, `trainable_bytes` that of its trainable parameters. `at` is the time in seconds
    since 1970, `machine` the host's name, `load` its load average per core. `cpu_share` is the share of CPU time in the wall time
    of a single CPU thread; None for more threads and on GPUs, where it proves nothing.
    """

    train_seconds: float
    evaluate_seconds: float
    at: float
    machine: str = ""
    build_seconds: float = 0.0
    cpu_share: float | None = None
    load: float | None = None
    memory_bytes: int | None = None
    base_bytes: int | None = None
    weight_bytes: int = 0
    trainable_bytes: int = 0

    @property
    def disturbed(self) -> bool:
        """Whether other processes slowed the measurement: it is then repeated by the next command."""
        return self.cpu_share < STEADY if self.cpu_share is not None else self.load is not None and self.load > 1

    @property
    def steady_share(self) -> float:
        """The share of the measured wall time that the work itself needed, in (0, 1]: below 1 for a disturbed single thread."""
        return min(1.0, self.cpu_share) if self.cpu_share is not None and self.disturbed else 1.0


@dataclass(frozen=True)
class TaskTimes:
    """What real tasks of one key took: medians over the `tasks` of one run.

    `train_seconds` and `evaluate_seconds` are seconds per image: CPU time for a single CPU thread, which other processes hardly
    change, otherwise wall time. `cpu_share` is the share of CPU time in their wall time, as in a probe. `result_seconds` is the
    time outside of epochs per result, where building the model counts as one result: checkpoints, weights, data. `test_seconds`
    is that of the test of a confirmed run per test image, with all that the run stores (None if unknown). `spread` is the factor
    within which four of five tasks lie.
    """

    tasks: int
    train_seconds: float
    evaluate_seconds: float
    result_seconds: float
    test_seconds: float | None
    spread: float
    at: float
    machine: str = ""
    cpu_share: float | None = None


@dataclass(frozen=True)
class TuningShare:
    """The share of their planned epochs that the tuning `trials` of one run ran under an early-stopping rule."""

    share: float
    trials: int
    at: float


@dataclass(frozen=True)
class Timings:
    """All timings of a store: `probes` and `tasks` by the text of their `SpeedKey`.

    `tuning` has shares of epochs by the keys of `CostModel.share_keys`, `starts` the seconds from the announcement of a run to
    its first task by runner, `scores` the seconds of the scores of a source by the text of a key.
    """

    probes: Mapping[str, Probe] = field(default_factory=dict)
    tasks: Mapping[str, TaskTimes] = field(default_factory=dict)
    tuning: Mapping[str, TuningShare] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    def with_probe(self, key: str, probe: Probe) -> Self:
        """Return these timings with a probe added."""
        return replace(self, probes={**self.probes, key: probe})

    def with_run(self, run: "Timings") -> Self:
        """Return these timings with the times of a run added: newer times replace older ones.

        Times of one or two tasks replace no times of more, unless these are old. Probes that disagree with real tasks count as
        old, so that they are measured again.
        """
        tasks = dict(self.tasks)
        for key, times in run.tasks.items():
            known = tasks.get(key)
            if known is None or times.tasks >= min(3, known.tasks) or not is_current(known.at):
                tasks[key] = times
        probes = {key: outdated(probe) if disagrees(probe, tasks.get(key)) else probe for key, probe in self.probes.items()}
        merged = {name: {**getattr(self, name), **getattr(run, name)} for name in ("tuning", "starts", "scores")}
        return replace(self, probes=probes, tasks=tasks, **merged)

    def as_text(self) -> str:
        """Return the text that `parse` reads."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the timings in a text. Raises `ValueError` for any other text, also one of another version."""
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise ValueError("another version")
        try:
            return cls(
                _values(Probe, found["probes"]),
                _values(TaskTimes, found["tasks"]),
                _values(TuningShare, found["tuning"]),
                {name: float(seconds) for name, seconds in found["starts"].items()},
                {name: float(seconds) for name, seconds in found["scores"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged: {error}") from None


def _values(kind: type, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key: kind(**values) for key, values in found.items()}


def outdated(probe: Probe) -> Probe:
    """Return a probe that counts as old. Its sizes in memory stay known."""
    return replace(probe, at=0.0)


def is_current(at: float) -> bool:
    """Return whether a timing of a time (seconds since 1970) is recent enough to be used."""
    return time.time() - at < AGE_DAYS * 86_400


def disagrees(probe: Probe, times: TaskTimes | None) -> bool:
    """Return whether real tasks took much longer or shorter per trained image than a probe."""
    if times is None:
        return False
    ratio = times.train_seconds / (probe.train_seconds * probe.steady_share)
    return not 1 / DISAGREES <= ratio <= DISAGREES


def read_timings(text: SharedText) -> Timings:
    """Return the timings in a text of the store: none if it is missing or cannot be read."""
    try:
        return Timings.parse(text.read())
    except (OSError, ValueError):
        return Timings()


def change_timings(text: SharedText, change: Callable[[Timings], Timings]) -> None:
    """Replace the timings in a text of the store by changed ones. On a full disk they stay as they are."""
    with suppress(OSError):
        text.write(change(read_timings(text)).as_text())


def drop_unreadable(text: SharedText) -> str | None:
    """Remove a text that cannot be read or is of another version; return a line on it, None if it is sound or missing."""
    try:
        Timings.parse(text.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        with suppress(OSError):
            text.remove()
        return f"{text.location}: unreadable, or of another version of segsweep; speeds are measured again"
    return None
