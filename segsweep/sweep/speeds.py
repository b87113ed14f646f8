"""The speeds from which tasks are priced: those of real tasks if the store knows them, otherwise those of a probe."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import median

from segsweep.data.dataset import Notify
from segsweep.store.protocol import SharedText
from segsweep.training.device import Device
from segsweep.training.machine import device_kind
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import Probe, TaskTimes, Timings, drop_unreadable, is_current, read_timings

Measure = Callable[[SpeedKey, Device, SharedText], Probe]  # as `segsweep.training.speed.measure_speed`
TEST_FACTOR = 3.0  # a test image takes this many evaluations with all that a confirmed run stores: measured 2.6 to 3 at 48 px
RESULT_BUILDS = 2.0  # the work outside of epochs takes this many builds of the model per result: measured 1.5 to 2.5
# factors within which times lie: from a disturbed probe, a probe, a probe scaled by real tasks, and real tasks
DISTURBED, PROBED, SCALED, LEAST_SPREAD = 1.6, 1.4, 1.3, 1.15
WIDEST = 2.0  # largest factor of times from real tasks
SPIN_SECONDS = 0.2


@dataclass(frozen=True)
class Speed:
    """Seconds of the work of one key on an idle worker, right within `factor`: per image, and `result` per validation."""

    train: float
    evaluate: float
    test: float
    result: float
    factor: float
    is_recorded: bool = False


class Speeds:
    """The speeds on one device, which `measure` probes on first use. `text` is the store's text with timings.

    If it cannot be read, `notify` receives a line. Probes of work that was never recorded are scaled by what real tasks on the
    same kind of device took in comparison with their probes.
    """

    def __init__(self, text: Callable[[], SharedText], device: Device, measure: Measure, notify: Notify) -> None:
        self.device, self._measure, self._text, self._notify = device, measure, text, notify
        self.of, self.known_probe = cache(self._of), cache(self._known_probe)

    @cached_property
    def kind(self) -> str:
        """The kind of the device."""
        return device_kind(self.device)

    @property
    def single_thread(self) -> bool:
        """Whether each worker computes with one CPU thread, whose CPU time other processes hardly change."""
        return not self.device.cuda and self.device.threads == 1

    @cached_property
    def text(self) -> SharedText:
        """The store's text with timings, after removal of one that cannot be read."""
        text = self._text()
        if (dropped := drop_unreadable(text)) is not None:
            self._notify(dropped)
        return text

    @cached_property
    def timings(self) -> Timings:
        """The timings that the store has before this command measures any."""
        return read_timings(self.text)

    def _of(self, key: SpeedKey) -> Speed:
        times = self.timings.tasks.get(key.text)
        if times is not None and is_current(times.at):
            test = times.test_seconds or TEST_FACTOR * times.evaluate_seconds
            factor = min(WIDEST, max(LEAST_SPREAD, times.spread))
            return Speed(times.train_seconds, times.evaluate_seconds, test, times.result_seconds, factor, is_recorded=True)
        probe, scale = self.probe(key), self.scale
        share = probe.steady_share * (scale or 1.0)
        factor = DISTURBED if probe.disturbed else PROBED if scale is None else SCALED
        evaluate, result = share * probe.evaluate_seconds, RESULT_BUILDS * probe.build_seconds
        return Speed(share * probe.train_seconds, evaluate, TEST_FACTOR * evaluate, result, factor)

    def probe(self, key: SpeedKey) -> Probe:
        """Return the probe of a key, which is measured if the store has none that is recent and undisturbed."""
        return self._measure(key, self.device, self.text)

    def _known_probe(self, key: SpeedKey) -> Probe | None:
        """Return the probe that the store has, of any age; None if it has none."""
        return read_timings(self.text).probes.get(key.text)

    @cached_property
    def scale(self) -> float | None:
        """The median factor between the times of real tasks and their probes on this kind of device; None if none is known."""
        pairs = ((times, self.timings.probes.get(key)) for key, times in self.timings.tasks.items() if self._counts(key, times))
        found = [times.train_seconds / (probe.train_seconds * probe.steady_share) for times, probe in pairs if probe is not None]
        return median(found) if found else None

    def _counts(self, key: str, times: TaskTimes) -> bool:
        return SpeedKey.kind_in(key) == self.kind and is_current(times.at)

    @cached_property
    def free_share(self) -> float:
        """The share of a core that one thread of this process gets now, in (0, 1]; 1 on a GPU, where it matters little."""
        if self.device.cuda:
            return 1.0
        start, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - start < SPIN_SECONDS:
            pass
        return min(1.0, max(0.01, (time.process_time() - cpu) / (time.perf_counter() - start)))
