"""The prediction that a start of a study made, as `study.json` keeps it, and the time that the run took."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from segsweep.durations import readable_seconds

ENTRY = "prediction"  # its name among the facts of a start
BUSY = 0.9  # workers that got less of their cores shared them with other processes


@dataclass(frozen=True)
class StartPrediction:
    """The predicted seconds of the work of one start, from its first task to its last, and the real ones.

    `low` and `high` are the ends of the range. `took_seconds` excludes pauses; None until the work is done. `cpu_share` is the
    share of a core that workers with one CPU thread got; None for others. `share_done` is the share of the predicted work that
    the start did: less than 1 if a budget or a deadline ended it.
    """

    low: float
    seconds: float
    high: float
    device_seconds: float
    took_seconds: float | None = None
    took_device_seconds: float | None = None
    cpu_share: float | None = None
    share_done: float = 1.0

    @classmethod
    def of_start(cls, start: Mapping[str, Any]) -> Self | None:
        """Return the prediction among the facts of a start; None if it has none, as in earlier versions."""
        entry = start.get(ENTRY)
        try:
            return cls(**entry) if isinstance(entry, Mapping) else None
        except TypeError:  # a later version
            return None

    @property
    def facts(self) -> dict[str, Any]:
        """The prediction as facts of a start."""
        return {ENTRY: asdict(self)}

    @property
    def error(self) -> float | None:
        """The relative error for the work that was done: 0.17 if it took 17 % longer; None until then, and if none was done."""
        expected = self.share_done * self.seconds
        return self.took_seconds / expected - 1 if self.took_seconds is not None and expected > 0 else None

    @property
    def sentence(self) -> str:
        """The prediction and its error in words."""
        low, expected, high = (readable_seconds(self.share_done * each) for each in (self.low, self.seconds, self.high))
        part = "" if self.share_done == 1 else f" for the {100 * self.share_done:.0f} % of the work that ran"
        predicted = f"Predicted {expected} ({low} to {high}){part}"
        if self.took_seconds is None or self.error is None:
            return predicted
        took = f"{predicted}, took {readable_seconds(self.took_seconds)} ({_signed(self.error)})"
        if self.cpu_share is None or self.cpu_share >= BUSY:
            return took
        alone = self.took_seconds * self.cpu_share
        return (
            f"{took}; workers got {100 * self.cpu_share:.0f} % of a core, without other processes it is about "
            f"{readable_seconds(alone)} ({_signed(alone / (self.share_done * self.seconds) - 1)})"
        )


def _signed(error: float) -> str:
    return f"{100 * error:+.0f} %".replace("-", "\N{MINUS SIGN}")
