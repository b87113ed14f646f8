"""The store's text with timings: its versions, and how times of real tasks replace what probes said."""

import json
import time
from dataclasses import replace

import pytest

from segsweep.store.folder import FolderStore
from segsweep.training.timings import (
    AGE_DAYS,
    Probe,
    TaskTimes,
    Timings,
    TuningShare,
    change_timings,
    disagrees,
    drop_unreadable,
    is_current,
    read_timings,
)

NOW = time.time()
TIMES = TaskTimes(8, 0.1, 0.05, 0.2, 0.3, 1.2, NOW, "here", 0.9)
PROBE = Probe(0.1, 0.05, at=NOW, cpu_share=1.0, weight_bytes=100)


@pytest.fixture
def text(tmp_path):
    """Return the missing text of an empty store."""
    return FolderStore(tmp_path).text("speed.json")


def test_timings_are_read_as_they_were_written(text):
    """All kinds of timings survive writing and reading; a change keeps what it does not replace."""
    timings = Timings({"p": PROBE}, {"t": TIMES}, {"racing": TuningShare(0.5, 24, NOW)}, {"ray": 4.0}, {"s": 0.01})
    change_timings(text, lambda _: timings)
    assert read_timings(text) == timings
    change_timings(text, lambda known: known.with_probe("q", PROBE))
    assert read_timings(text) == replace(timings, probes={"p": PROBE, "q": PROBE})


@pytest.mark.parametrize(
    "content",
    ['{"[\\"cpu x1\\", \\"unet4\\"]": [114.2, 466.2]}', '{"version": 1}', '{"version": 2, "probes": {"p": {"at": 1}}}', "{", ""],
)
def test_a_text_of_another_version_is_dropped_with_a_line(text, content):
    """Speeds of the first version, which have no date, and damaged texts are removed, and one line reports it."""
    assert drop_unreadable(text) is None
    text.write(content)
    assert read_timings(text) == Timings()
    line = drop_unreadable(text)
    assert line == f"{text.location}: unreadable, or of another version of segsweep; speeds are measured again"
    with pytest.raises(FileNotFoundError):
        text.read()
    change_timings(text, lambda known: known.with_probe("p", PROBE))
    assert drop_unreadable(text) is None
    assert json.loads(text.read())["version"] == 2


def test_newer_times_of_tasks_replace_older_ones_unless_they_are_few():
    """A run of three tasks or more counts more than an earlier run; one task does not replace eight, unless these are old."""
    known = Timings(tasks={"t": TIMES})
    assert known.with_run(Timings(tasks={"t": replace(TIMES, tasks=3)})).tasks["t"].tasks == 3
    assert known.with_run(Timings(tasks={"t": replace(TIMES, tasks=1)})).tasks["t"].tasks == 8
    old = Timings(tasks={"t": replace(TIMES, at=NOW - 2 * AGE_DAYS * 86_400)})
    assert old.with_run(Timings(tasks={"t": replace(TIMES, tasks=1)})).tasks["t"].tasks == 1


def test_a_probe_that_real_tasks_contradict_is_outdated():
    """A probe that differs by more than a factor of 1.5 from real tasks is measured again; its sizes in memory stay known."""
    lie = replace(PROBE, train_seconds=0.9)
    assert disagrees(lie, TIMES)
    assert not disagrees(PROBE, TIMES)
    assert not disagrees(lie, None)
    found = Timings({"t": lie, "other": lie}).with_run(Timings(tasks={"t": TIMES})).probes
    assert not is_current(found["t"].at)
    assert found["t"].weight_bytes == 100
    assert is_current(found["other"].at)


def test_a_disturbed_single_thread_counts_with_its_cpu_time():
    """A thread that got 40 % of a core needs 40 % of the measured time on an idle one; an undisturbed one all of it."""
    assert replace(PROBE, cpu_share=0.4).steady_share == 0.4
    assert replace(PROBE, cpu_share=0.95).steady_share == 1.0
    assert replace(PROBE, cpu_share=None, load=3.0).disturbed
    assert not replace(PROBE, cpu_share=None, load=None).disturbed
