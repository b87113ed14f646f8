"""The comparison of a run with its prediction, and what later predictions learn from the run."""

import time
from dataclasses import dataclass, replace

from segsweep.records.reader import load
from segsweep.records.start_prediction import StartPrediction
from segsweep.sweep.estimate import Estimate
from segsweep.sweep.outage import retrying
from segsweep.sweep.prediction import Prediction, predict
from segsweep.sweep.run_times import device_seconds, ended_since, run_times, share_of_core
from segsweep.sweep.session import Session
from segsweep.training.timings import change_timings

WHOLE = 0.99  # a larger share of the predicted work is all of it


@dataclass(frozen=True)
class Outcome:
    """A run whose prediction is recorded: it began `at` a time in seconds since 1970, and at `monotonic` by that clock."""

    predicted: StartPrediction
    at: float
    monotonic: float

    @classmethod
    def begin(cls, session: Session, prediction: Prediction) -> "Outcome":
        """Record a prediction among the facts of the present start, and return the outcome that `end` completes."""
        finish = prediction.finish_seconds + Estimate.exact(prediction.start_seconds)
        work = prediction.device_seconds.expected
        predicted = StartPrediction(finish.low, finish.expected, finish.high, work)
        _add_to_start(session, predicted)
        return cls(predicted, time.time(), time.monotonic())

    def end(self, session: Session) -> str:
        """Record what the run took, without pauses, and return a line on it. The store keeps its times for later predictions."""
        took = time.monotonic() - self.monotonic - session.run_state.outage.paused_seconds
        records, costs = load(session.run_state.writer.folder), session.costs
        ended = ended_since(records, self.at, costs)
        times = run_times(records, session.planner, costs, self.at, session.config.options.runner)
        change_timings(costs.speeds.text, lambda timings: timings.with_run(times))
        found = replace(
            self.predicted,
            took_seconds=took,
            took_device_seconds=device_seconds(ended),
            cpu_share=share_of_core(ended, records, costs),
            share_done=self._share_done(session),
        )
        _add_to_start(session, found)
        return found.sentence

    def _share_done(self, session: Session) -> float:
        """Return the share of the predicted work that is done, in 0..1: 1 unless a budget or a deadline ended the run."""
        left = predict(session.planner, session.costs, session.catalog, session.runner.workers).device_seconds.expected
        share = 1 - left / self.predicted.device_seconds if self.predicted.device_seconds > 0 else 1.0
        return 1.0 if share > WHOLE else max(0.0, share)


def _add_to_start(session: Session, predicted: StartPrediction) -> None:
    """Record a prediction among the facts of the present start; wait while records cannot be written."""
    retrying(session.run_state.writer, session.run_state.outage).add_to_start(predicted.facts)
