"""Outages: when work pauses and resumes, and what is printed."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from segsweep.errors import OutageError, UserError
from segsweep.store import folder
from segsweep.store.faults import DISK, SPACE, Fault
from segsweep.store.folder import FolderStore
from segsweep.sweep import outage as module
from segsweep.sweep.outage import LARGE_PROBES, Outage, retrying

FULL = Fault("No space left on device: /store", SPACE)


class Clock:
    """A clock that advances only when code sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of outages."""
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A disk with `free` bytes; `asked` is the size of the last file that was tried."""
    found = {"free": 0, "asked": 0}

    def write(_path: Path, size: int) -> None:
        found["asked"] = size
        if size > found["free"]:
            raise OSError(errno.ENOSPC, "No space left on device")

    for place in (module, folder):
        monkeypatch.setattr(place, "write_and_remove", write)
    return found


@pytest.fixture
def lines() -> list[str]:
    """The printed lines."""
    return []


@pytest.fixture
def make(tmp_path: Path, lines: list[str]) -> Callable[..., Outage]:
    """Return a function that makes an outage for a store and a folder of records."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "study.json").touch()
    return lambda **options: Outage(FolderStore(tmp_path / "store"), tmp_path / "records", lines.append, **options)


def pass_until_ready(outage: Outage, clock: Clock, seconds: float) -> bool:
    """Let time pass until work can continue, at most `seconds`, and return whether it can."""
    end = clock.now + seconds
    while not (ready := outage.ready()) and clock.now < end:
        clock.sleep(0.5)
    return ready


def test_a_pause_lasts_until_a_file_can_be_written(
    make: Callable[..., Outage], clock: Clock, disk: dict[str, int], lines
) -> None:
    """While the disk is full nothing is ready; pause and end are each reported once, with the remedy, also to the status."""
    waits: list[str | None] = []
    outage = make(waiting=waits.append)
    assert outage.ready()
    outage.back_off("trial", FULL)
    assert not pass_until_ready(outage, clock, 50)
    disk["free"] = 1 << 30
    assert pass_until_ready(outage, clock, 61)
    (paused, resumed) = lines
    assert paused.startswith(f"paused: {FULL.reason}; free some space there; the study resumes automatically; Ctrl-C")
    assert resumed == "resumed"
    assert 50 < outage.paused_seconds <= 112  # the predicted time of a study excludes them
    assert waits == [f"{FULL.reason}; free some space there", None]


def test_a_task_that_fails_again_waits_for_more_space(make: Callable[..., Outage], clock: Clock, disk: dict[str, int]) -> None:
    """On a disk with room for the probe but not for a checkpoint, the task is not retried every second."""
    outage = make()
    disk["free"] = 5 << 20
    tries = 0
    while clock.now < 100 + 60:
        if outage.ready():
            tries += 1
            outage.back_off("trial", FULL)
        clock.sleep(0.5)
    assert 3 <= tries <= 5
    assert disk["asked"] > disk["free"]
    disk["free"] = 1 << 30
    assert pass_until_ready(outage, clock, 61)
    outage.progressed("trial")
    outage.back_off("trial", FULL)
    pass_until_ready(outage, clock, 5)
    assert disk["asked"] == module.FIRST_BYTES


def test_a_task_is_retried_although_the_larger_probe_never_fits(
    make: Callable[..., Outage], clock: Clock, disk: dict[str, int]
) -> None:
    """If the larger probe never fits, the task is retried after some probes, because it may need less."""
    outage = make()
    disk["free"] = 1 << 30
    for _ in range(4):
        outage.back_off("trial", FULL)
        assert pass_until_ready(outage, clock, 61)
    outage.back_off("trial", FULL)
    disk["free"] = disk["asked"]
    assert not pass_until_ready(outage, clock, 30)
    assert pass_until_ready(outage, clock, 60 * LARGE_PROBES)


def test_waits_grow_up_to_a_minute_and_are_short_after_progress(make: Callable[..., Outage]) -> None:
    """A task that is blocked repeatedly is retried less and less often."""
    outage = make()
    assert [outage.back_off("trial", FULL) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    outage.progressed("trial")
    assert outage.back_off("trial", FULL) == 1


def test_many_workers_are_one_line(make: Callable[..., Outage], lines: list[str]) -> None:
    """A fault that blocks several tasks at once is reported once; a different fault is reported, too."""
    outage = make()
    for number in range(8):
        outage.back_off(f"trial {number}", FULL)
    assert len(lines) == 1
    outage.back_off("trial 3", Fault("Input/output error: /store", DISK))
    assert len(lines) == 2


@pytest.mark.usefixtures("disk")
def test_the_user_can_limit_the_wait(make: Callable[..., Outage], clock: Clock) -> None:
    """After the limit without progress the study ends and reports that nothing is lost; progress restarts the limit."""
    outage = make(limit_seconds=100.0)
    outage.back_off("trial", FULL)
    clock.sleep(90)
    outage.progressed("other")
    outage.back_off("trial", FULL)
    clock.sleep(90)
    outage.ready()
    clock.sleep(20)
    with pytest.raises(OutageError, match=r"No space left on device.*nothing is lost: the same command continues"):
        outage.ready()


def test_a_store_that_is_gone_is_not_made_again(make: Callable[..., Outage], clock: Clock, tmp_path: Path) -> None:
    """Probing a store or records that are gone creates no empty folder in their place."""
    outage = make()
    for name in ("store", "records"):
        (tmp_path / name).rename(tmp_path / "away")
        outage.back_off("trial", FULL)
        assert not pass_until_ready(outage, clock, 10)
        assert f"{name} is gone" in outage.fault.reason
        assert not (tmp_path / name).exists()
        (tmp_path / "away").rename(tmp_path / name)
        assert pass_until_ready(outage, clock, 61)


@pytest.mark.usefixtures("clock")
def test_retrying_repeats_until_it_works(make: Callable[..., Outage], disk: dict[str, int]) -> None:
    """A blocked method is called again until it works; mistakes are raised; `check` can interrupt it."""
    outage, calls = make(), []

    class Disk:
        def write(self, text: str) -> str:
            calls.append(text)
            if len(calls) < 4:
                raise UserError("records cannot be written") from OSError(errno.ENOSPC, "No space left on device")
            if text == "wrong":
                raise ValueError("wrong")
            return text.upper()

    disk["free"] = 1 << 30
    thing = retrying(Disk(), outage)
    assert thing.write("a") == "A"
    assert calls == ["a"] * 4
    with pytest.raises(ValueError, match="wrong"):
        thing.write("wrong")

    def interrupted() -> None:
        raise KeyboardInterrupt

    calls.clear()
    outage.check = interrupted
    with pytest.raises(KeyboardInterrupt):
        thing.write("b")
    outage.end()
    calls.clear()
    with pytest.raises(UserError):
        thing.write("c")
    assert calls == ["c"]
