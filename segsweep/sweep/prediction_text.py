"""A prediction in words: one paragraph, and a table with a row per cell."""

import textwrap
from collections.abc import Iterator

from segsweep.durations import readable_seconds
from segsweep.sweep.estimate import Estimate
from segsweep.sweep.prediction import Prediction, Price

WIDTH, GAP, LEAST_NAME = 80, 2, 12
HEADER = ("tasks", "time", "range", "memory", "disk")
BUSY = 0.9  # below this share of a core, the machine is busy


def time_text(seconds: Estimate) -> str:
    """Return a duration and its range, such as `12 min (9.1 to 17 min)`."""
    return f"{readable_seconds(seconds.expected)} ({_range(seconds)})"


def size_text(size: float) -> str:
    """Return a size in bytes in a readable unit, such as `340 MB` or `2.1 GB`."""
    for unit, limit in (("GB", 1e9), ("MB", 1e6)):
        if size >= limit:
            return f"{size / limit:.{0 if size >= 10 * limit else 1}f} {unit}"
    return f"{size / 1e3:.0f} kB"


def prediction_lines(predicted: Prediction, runs_on: str) -> Iterator[str]:
    """Yield a summary, and a table with a row per cell, in 80 columns."""
    yield from textwrap.wrap(_summary(predicted, runs_on), WIDTH)
    prices = [price for price in (*predicted.cells, predicted.sources) if price.seconds.expected]
    axes = " ".join(part.partition("=")[0] for part in predicted.cells[0].name.split())
    rows = [(axes, HEADER), *((_values(price.name), _numbers(price)) for price in prices)]
    widths = [max(len(numbers[column]) for _, numbers in rows) for column in range(len(HEADER))]
    width = max(LEAST_NAME, min(max(len(name) for name, _ in rows), WIDTH - sum(widths) - GAP * len(widths)))
    for name, numbers in rows:
        *above, last = textwrap.wrap(name, width, subsequent_indent="  ", break_on_hyphens=False) or [""]
        yield from above
        yield (" " * GAP).join([last.ljust(width), *(text.rjust(size) for text, size in zip(numbers, widths, strict=True))])


def _summary(predicted: Prediction, runs_on: str) -> str:
    """Return the totals in sentences, with the sources of the prediction."""
    work, memory = predicted.device_seconds, predicted.memory_bytes
    parts = [f"Predicted: {time_text(predicted.finish_seconds)} on {runs_on}; {time_text(work)} of device time."]
    if predicted.start_seconds >= 1:
        parts.append(f"Starting the workers takes {readable_seconds(predicted.start_seconds)} more.")
    if predicted.tuning_share.low < 1:
        share = predicted.tuning_share
        parts.append(
            f"Early stopping leaves tuning trials {_percent(share.expected)} of their epochs "
            f"({_percent(share.low)} to {_percent(share.high)})."
        )
    if memory is not None:
        parts.append(f"A worker needs up to {size_text(memory.expected)} of memory ({_sizes(memory)}).")
    disk, during = predicted.disk_bytes, predicted.checkpoint_bytes
    parts.append(
        f"The store grows by {size_text(disk.expected)}, and by {size_text(during.expected)} of checkpoints during the run."
    )
    parts.append(_basis(predicted))
    return " ".join([*parts, *busy_sentences(predicted)])


def busy_sentences(predicted: Prediction) -> list[str]:
    """Return a sentence on other processes that use the cores of this machine now; none if it is idle."""
    if predicted.free_share >= BUSY:
        return []
    times = 1 / predicted.free_share
    slower = f"{times:.1f}" if times < 10 else f"{times:.0f}"
    now = f"Other processes use this machine: a thread gets {_percent(predicted.free_share)} of a core now"
    return [f"{now}; while this lasts, all takes {slower} times as long."]


def _basis(predicted: Prediction) -> str:
    """Return where the speeds come from."""
    counts = {"earlier runs": predicted.recorded, "a short measurement": predicted.probed}
    known = [f"{count} from {name}" for name, count in counts.items() if count]
    return f"Speeds: {' and '.join(known)}."


def _values(name: str) -> str:
    """Return the values in a cell's name, without the names of the axes."""
    return " ".join(part.partition("=")[2] or part for part in name.split())


def _numbers(price: Price) -> tuple[str, ...]:
    memory = "" if price.memory_bytes is None else size_text(price.memory_bytes.expected)
    expected, disk = readable_seconds(price.seconds.expected), size_text(price.disk_bytes.expected)
    return str(price.tasks), expected, _range(price.seconds), memory, disk


def _range(seconds: Estimate) -> str:
    low, high = readable_seconds(seconds.low), readable_seconds(seconds.high)
    number, unit = low.split()
    return f"{number if unit == high.split()[1] else low} to {high}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _sizes(size: Estimate) -> str:
    return f"{size_text(size.low)} to {size_text(size.high)}"
