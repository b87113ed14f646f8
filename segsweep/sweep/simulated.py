"""The simulated runner: whole studies with invented results in an instant, on any number of workers."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from segsweep.config.keep import Reading
from segsweep.config.work import Trial
from segsweep.sweep.planner import Planner
from segsweep.sweep.work import Ended, StageWork, Work


@dataclass(frozen=True)
class Event:
    """Something that happened at a simulated time: `start`, `epoch`, `finished`, `stopped` or `failed`."""

    seconds: float
    what: str
    work: Work
    epoch: int = 0


@dataclass
class Simulation:
    """Runs a planner's work on `workers` simulated workers.

    `val_iou` invents the validation IoU of a trial's epoch; one that raises fails the trial. `stage_seconds` and
    `epoch_seconds` say how long things take; stages whose name is in `broken` fail.
    """

    planner: Planner
    val_iou: Callable[[Trial, int], float]
    workers: int = 1
    stage_seconds: float = 10.0
    epoch_seconds: float = 1.0
    broken: frozenset[str] = frozenset()
    built: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def run(self, until_seconds: float = float("inf")) -> list[Event]:
        """Run until nothing is left or the time is over, and return what happened, in order."""
        clock, busy = 0.0, 0
        queue: list[tuple[float, int, Work, int]] = []
        while True:
            while busy < self.workers and (work := self.planner.next()) is not None:
                busy += 1
                self.events.append(Event(clock, "start", work))
                duration = self.stage_seconds if isinstance(work, StageWork) else self.epoch_seconds
                heapq.heappush(queue, (clock + duration, len(self.events), work, 1))
            if not queue or queue[0][0] > until_seconds:
                return self.events
            clock, _, work, epoch = heapq.heappop(queue)
            if self._advance(clock, work, epoch):
                heapq.heappush(queue, (clock + self.epoch_seconds, len(self.events), work, epoch + 1))
            else:
                busy -= 1

    def _advance(self, clock: float, work: Work, epoch: int) -> bool:
        """Let one stage or one epoch end, and return whether the work goes on."""
        if isinstance(work, StageWork):
            broken = work.spec.name in self.broken
            if not broken:
                key = work.spec.key(self.built[work.parent_key] if work.parent_key else None)
                self.built[key] = f"content of {key}"
            self.events.append(Event(clock, "failed" if broken else "finished", work))
            self.planner.stage_ended(work.spec, "broken" if broken else None)
            return False
        try:
            value = self.val_iou(work.trial, epoch)
        except Exception as error:
            self.events.append(Event(clock, "failed", work, epoch))
            self.planner.trial_ended(work.trial, Ended("failed", str(error)))
            return False
        self.events.append(Event(clock, "epoch", work, epoch))
        last = epoch == work.trial.settings.results
        if self.planner.epoch(work.trial, epoch, Reading(value)) and not last:
            return True
        status = "finished" if last else "stopped"
        self.events.append(Event(clock, status, work, epoch))
        self.planner.trial_ended(work.trial, Ended(status))
        return False
