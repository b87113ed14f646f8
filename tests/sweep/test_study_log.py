"""The log in a study's folder."""

import io
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console
from studies import plan_of, small_study

from segsweep.errors import UserError
from segsweep.sweep.reporting import reporting
from segsweep.sweep.study_log import EARLIER, LOG, StudyLog
from segsweep.sweep.tally import EarlierProgress


def test_lines_have_the_time_and_are_appended_start_after_start(tmp_path: Path) -> None:
    """Lines from before the folder is claimed come first; every line is written at once; another start appends."""
    log = StudyLog(tmp_path, clock=lambda: 0.0)
    log.write("one\n")
    assert not (tmp_path / LOG).exists()
    log.open()
    log.write("two\nthree\n")
    lines = (tmp_path / LOG).read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["one", "two", "three"]
    assert all(line.startswith(("1970-01-01 ", "1969-12-31 ")) for line in lines)
    again = StudyLog(tmp_path)
    again.open()
    again.write("four\n")
    assert len((tmp_path / LOG).read_text().splitlines()) == 4


def test_lines_lost_on_a_full_disk_are_counted(tmp_path: Path) -> None:
    """Nothing is raised while the disk is full (`/dev/full`); the next line that fits is preceded by the number of lost lines."""
    log = StudyLog(tmp_path)
    log.open()
    (tmp_path / LOG).symlink_to("/dev/full")
    log.write("lost\nlost too\n")
    (tmp_path / LOG).unlink()
    log.write("kept\n")
    assert [line[20:] for line in (tmp_path / LOG).read_text().splitlines()] == ["(2 lines could not be written)", "kept"]


def test_its_size_is_bounded(tmp_path: Path) -> None:
    """A full file becomes the earlier one: the newest lines are kept, in two files of bounded size."""
    log = StudyLog(tmp_path, most_bytes=1000)
    log.open()
    for number in range(200):
        log.write(f"line {number}\n")
    files = [tmp_path / EARLIER, tmp_path / LOG]
    assert all(file.stat().st_size <= 1000 for file in files)
    numbers = [int(line.split()[-1]) for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 30


@pytest.mark.parametrize("terminal", [True, False])
def test_it_has_plain_lines_whatever_the_console_shows(tmp_path: Path, terminal: bool) -> None:
    """Even with a display that redraws itself, the log has every line once, without control characters, and start and end."""
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=terminal, width=60)
    with pytest.raises(UserError):
        _say_and_fail(tmp_path, console)
    lines = [line[20:] for line in (tmp_path / LOG).read_text().splitlines()]
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith("start of segsweep ")
    assert shlex.join(sys.orig_argv) in lines[0]
    assert lines[1:] == [
        "preparing pets: 5/5",
        "a line that is longer than the console is wide: " + "x" * 40 + " [bold] :smile:",
        "ended: --data: no such folder",
    ]


def _say_and_fail(folder: Path, console: Console) -> None:
    with reporting(folder, console) as view:
        for done in range(1, 6):
            view.data("preparing pets", done, 5)
        view.begin(plan_of(small_study()), EarlierProgress(), 1.0)
        view.notify("a line that is longer than the console is wide: " + "x" * 40 + " [bold] :smile:")
        raise UserError("--data: no such folder")
