"""Requests to end, in real processes: one line that states how to continue, exit code 130, no traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segsweep.records import load
from segsweep.sweep.signals import interruptible

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAST_LINE = "interrupted; everything so far is kept. To continue: python study.py"
STUDY = """
import time
from segsweep import Study, Target, main

study = Study(name="s", target=Target("pets"), compare={"source": ["random"]})
print("declared", flush=True)
time.sleep(SECONDS)
print("goes on", flush=True)
"""
WHOLE = """
import sys, time
from segsweep import LogUniform, Study, Target, main

MOMENT = sys.argv.pop()


def pausing(module, name):
    __import__(module)
    before = getattr(sys.modules[module], name)

    def function(*values, **named):
        print("there", flush=True)
        time.sleep(SECONDS)
        return before(*values, **named)

    setattr(sys.modules[module], name, function)


study = Study(
    name="s",
    target=Target("folder:TARGET"),
    compare={"source": ["random"]},
    tune={"learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={"architecture": "unet4", "image_px": 32, "epochs": 2, "batch_size": 8},
    trials_per_cell=1,
    seeds=1,
)
if MOMENT != "never":
    pausing(*MOMENT.split(":"))
else:
    print("there", flush=True)
main(study, arguments=["--runner", "inline", "--device", "cpu", "--threads", "1"])
"""
MOMENTS = {
    "data are prepared": "segsweep.data.decoding:read_checked",
    "a model trains": "segsweep.training.loop:evaluate",
    "the report is written": "segsweep.report.write:prediction_sheet",
}
COMMAND = """
import ctypes, time
from segsweep.cli import ending
from segsweep.cli.exits import exit_codes
from segsweep.console import error_console
from segsweep.records import load
from segsweep.sweep.signals import interruption

ending.LEAVE_SECONDS = 4.0
with exit_codes(error_console(), lambda detail: "last line"):
    STEPS
"""


def start(folder: Path, text: str, *arguments: str, prepare: Callable[[], object] | None = None) -> "subprocess.Popen[str]":
    """Start a script in a folder, with the signals of a shell's foreground job, and wait for its first line."""

    def heard() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if prepare is not None:
            prepare()

    (folder / "study.py").write_text(text)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, "study.py", *arguments], cwd=folder, text=True, preexec_fn=heard, start_new_session=True, **pipes
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_a_study_is_declared_is_one_line(tmp_path: Path, number: signal.Signals) -> None:
    """From the import of `main` on, each signal ends a study's script at once, with its last line and code 130."""
    process = start(tmp_path, STUDY.replace("SECONDS", "30"), "--plan")
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, f"{LAST_LINE} --plan\n")


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    """HUP under nohup and INT in a shell's background job affect neither a script nor a run; TERM still does."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = start(tmp_path, STUDY.replace("SECONDS", "0.3"), prepare=ignore)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "goes on\n", "")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        ignore()
        with interruptible() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.reason is None
            with pytest.raises(KeyboardInterrupt, match="interrupted by SIGTERM"):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_interrupted_command_prints_how_to_continue(tmp_path: Path) -> None:
    """An interrupted `segsweep prepare` prints the command that continues it; a query has nothing to continue."""
    for arguments, words in (
        (["prepare", "a b"], "; everything so far is kept. To continue: segsweep prepare 'a b'"),
        (["sql", "x"], ""),
    ):
        code = f"""
import time
from segsweep.cli import commands

commands.Command.run = lambda *_: (print("there", flush=True), time.sleep(30))
commands.command_line({arguments})
"""
        process = start(tmp_path, code)
        process.send_signal(signal.SIGTERM)
        assert (*process.communicate(timeout=10), process.returncode) == ("", f"interrupted{words}\n", 130)


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ('print("runs", flush=True); time.sleep(30)', (0, 1)),
        ('print("runs", flush=True)\n    try: time.sleep(30)\n    except KeyboardInterrupt: raise ValueError', (0, 1)),
        ('with interruption().deferred(): print("runs", flush=True); time.sleep(30)', (1, 2)),
        ('lock = ctypes.create_string_buffer(64); print("runs", flush=True)\n'
         '    for _ in range(2): ctypes.CDLL(None).pthread_mutex_lock(lock)', (4, 6)),
    ],
    ids=["a step", "a step that makes another error of it", "a deferred step that takes long", "a step that hangs for ever"],
)  # fmt: skip
def test_a_command_ends_whatever_its_main_thread_does(tmp_path: Path, steps: str, seconds: tuple[int, int]) -> None:
    """A command ends with its line and 130: at once, after a second if a step defers that, by force if it hangs."""
    process = start(tmp_path, COMMAND.replace("STEPS", steps))
    time.sleep(0.3)  # by then the process sleeps or hangs
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert time.monotonic() - sent < 3  # before `ray job stop` kills
    _, rest = process.communicate(timeout=20)
    assert (process.returncode, line, rest) == (130, "last line\n", "")
    assert seconds[0] - 0.1 < time.monotonic() - sent < seconds[1] + 1


def test_a_second_signal_ends_at_once_but_a_doubled_one_does_not(tmp_path: Path) -> None:
    """Two signals within a second are one request, which lets a clean end finish; a later one ends it without a traceback."""
    steps = 'try: print("runs", flush=True); time.sleep(30)\n    finally: time.sleep(SECONDS); print("clean", flush=True)'
    twice = start(tmp_path, COMMAND.replace("STEPS", steps.replace("SECONDS", "1")))
    twice.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    twice.send_signal(signal.SIGHUP)
    assert (*twice.communicate(timeout=10), twice.returncode) == ("clean\n", "last line\n", 130)
    later = start(tmp_path, COMMAND.replace("STEPS", steps.replace("SECONDS", "30")))
    later.send_signal(signal.SIGINT)
    time.sleep(1.3)
    sent = time.monotonic()
    later.send_signal(signal.SIGINT)
    assert (*later.communicate(timeout=10), later.returncode) == ("", "last line\n", 130)
    assert time.monotonic() - sent < 1


def test_a_terminal_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """If stderr is closed, the exit code is 130, too."""
    process = start(tmp_path, COMMAND.replace("STEPS", 'print("runs", flush=True); time.sleep(30)'))
    assert process.stderr is not None
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert (process.communicate(timeout=10)[0], process.returncode) == ("", 130)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("moment", "number"), list(zip(MOMENTS, SIGNALS[::-1], strict=True)))
def test_a_study_ends_at_any_moment_and_continues(moment: str, number: signal.Signals, tmp_path: Path, ellipses: Path) -> None:
    """While data is prepared, a model trains or the report is written, each signal ends the study with 130 and one more line; its
    records are complete, and the same command finishes it without a second start of finished work."""
    text = WHOLE.replace("TARGET", str(ellipses)).replace("SECONDS", "0.2" if moment == "data are prepared" else "30")
    process = start(tmp_path, text, MOMENTS[moment])
    sent = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert (process.returncode, errors.splitlines()[-1]) == (130, f"{LAST_LINE}")
    assert "Traceback" not in errors
    if moment != "data are prepared":
        trials = load(tmp_path / "runs" / "s").trials
        done = trials["status"] == "finished"
        assert done.sum() == (0 if moment == "a model trains" else 2)
        assert ("interrupted" in set(trials["status"])) == (moment == "a model trains")
    again = start(tmp_path, text, "never")
    assert again.communicate(timeout=60)[1].count("error") == again.returncode == 0
    trials = load(tmp_path / "runs" / "s").trials
    assert set(trials["status"]) == {"finished"}
    assert sorted(trials["starts"]) == ([1, 2] if moment == "a model trains" else [1, 1])
