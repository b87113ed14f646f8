"""The GPU kit at tiny size on this machine: its logic, and most of its checks."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from torch.autograd import DeviceType

from gpu import runner
from gpu.fast import profile
from gpu.fast.rates import in_time
from gpu.part import failure, run_checks
from gpu.part_context import PartContext
from gpu.parts import PARTS, Part
from gpu.right import states
from gpu.rows import Row, at_least, at_most, equal, holds, note, read_rows, write_row
from gpu.runner import Options, run_parts
from gpu.table import summary, write_table
from segsweep.training.device import Device

ROOT = Path(__file__).parents[2]


@pytest.fixture
def part_context(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").mkdir()
    return PartContext(Device("cpu", 1), True, tmp_path / "folder", tmp_path / "out")


def test_nan_passes_no_bound():
    """NaN fails every comparison."""
    nan = float("nan")
    assert not any(row.passed for row in (at_most("x", nan, 1), at_least("x", nan, 1), equal("x", nan, 1)))
    assert all(row.passed for row in (at_most("x", 1, 1), at_least("x", 1, 1), equal("x", 1, 1), holds("x", True)))


def test_a_check_that_raises_fails_alone(part_context):
    """Rows before an error are kept, the error is a failed row with the line that raised it, and the next check runs."""

    def broken(_part_context):
        yield note("before", 1)
        raise RuntimeError("no kernel image\nmore text")

    def sound(_part_context):
        yield note("after", 2)

    rows = []
    run_checks((broken, sound), part_context, rows.append)
    names = [row.what for row in rows]
    assert names == ["before", "broken", "time of broken", "after", "time of sound"]
    assert rows[1].passed is False
    assert rows[1].value.startswith("RuntimeError: no kernel image (tests/gpu/test_kit.py:")


def test_an_error_names_the_lines_of_the_repository_and_of_torch():
    """An error inside torch names the last line of the repository and the line in torch."""
    with pytest.raises(RuntimeError) as caught:
        torch.nn.functional.one_hot(torch.tensor([-1]))
    assert "test_kit.py:" in failure("x", caught.value).value


@pytest.fixture
def options(tmp_path):
    (tmp_path / "out").mkdir()
    return Options(tmp_path / "out", "cpu", 1, tiny=True, jobs=2, seconds=60)


def stand_in(code):
    """Return a command that replaces that of a part."""
    return [sys.executable, "-c", f"import sys, time; out = sys.argv[-1] + '/results.jsonl'\n{code}"]


def outcomes(out: Path) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for result in read_rows(out / "results.jsonl"):
        found.setdefault(result.part, []).append(result.row)
    return found


def test_a_hang_and_a_crash_affect_no_other_part(options, monkeypatch):
    """A part beyond its time is stopped, a part that dies is named, and the rows of the others, the table and the log exist."""
    codes = {"hangs": "time.sleep(60)", "dies": "print('last words'); sys.exit(3)", "works": "print('fine')"}
    monkeypatch.setattr(runner, "command_of", lambda part, options, _: [*stand_in(codes[part.name]), str(options.out)])
    start = time.monotonic()
    run_parts([Part("hangs", "-", 1), Part("dies", "-", 20), Part("works", "-", 20, alone=True)], options)
    assert time.monotonic() - start < 20
    found = outcomes(options.out)
    assert [row.what for row in found["hangs"]] == ["time limit", "time of the part"]
    assert (found["dies"][0].what, found["dies"][0].value, found["dies"][0].passed) == ("exit code", 3, False)
    assert [row.what for row in found["works"]] == ["time of the part"]
    assert "last words" in (options.out / "log.txt").read_text()
    assert "| exit code | 3 |  | = 0 | **no** |" in (options.out / "results.md").read_text()


def test_parts_without_time_are_listed(tmp_path):
    """When the budget is used up, parts are skipped and fail as such."""
    run_parts([Part("late", "-", 5)], Options(tmp_path, "cpu", 1, tiny=True, jobs=1, seconds=1))
    assert outcomes(tmp_path)["late"] == [Row("skipped", "the time was used up", "", "must run", False)]


def test_work_without_time_is_named(part_context, monkeypatch):
    """Work continues while one and a half times the longest so far remains; the rest is named, and no piece is stopped."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("gpu.part_context.time.monotonic", lambda: clock.now)
    monkeypatch.setattr("gpu.fast.rates.time.perf_counter", lambda: clock.now)

    def work(seconds):
        def do(_part_context):
            clock.now += seconds
            yield note(f"took {seconds}", 1)

        return do

    pieces = [(f"piece {number}", work(seconds)) for number, seconds in enumerate((6, 20, 20, 8, 8))]
    rows = list(in_time(replace(part_context, end=60.0), pieces))
    assert [row.what for row in rows] == ["took 6", "took 20", "took 20", "left out, since no time was left"]
    assert rows[-1].value == "piece 3, piece 4"
    assert rows[-1].passed is None
    assert clock.now < 60


def test_a_piece_of_work_that_raises_fails_alone(part_context):
    """An error becomes a failed row with the name of its piece, and the next piece is done."""

    def broken(_part_context):
        yield note("before", 1)
        raise RuntimeError("no kernel image")

    rows = list(in_time(part_context, [("broken piece", broken), ("sound piece", lambda _: iter([note("after", 2)]))]))
    assert [(row.what, row.passed) for row in rows] == [("before", None), ("broken piece", False), ("after", None)]


def test_a_part_gets_the_end_of_its_time(options):
    """The command of a part holds the end of its time, by the clock that all processes share."""
    command = runner.command_of(PARTS[0], options, 1234.5)
    assert command[command.index("--end") + 1] == "1234.5"


def test_rates_come_last_and_profiles_before_them():
    """The part with the most cases runs last, in the remaining time."""
    names = [part.name for part in PARTS]
    assert names[-1] == "rates"
    assert names.index("profile") < names.index("rates")


def test_the_summary_has_at_most_forty_lines(tmp_path):
    """The verdict comes last, failures first, and main results fill the rest."""
    for number in range(60):
        write_row(tmp_path / "results.jsonl", "part", at_most(f"value {number}", 2, 1))
        write_row(tmp_path / "results.jsonl", "part", note(f"! rate {number}", 1000.0 * number, "images/s"))
    lines = summary(tmp_path)
    assert len(lines) == 40
    assert lines[0] == "FAILED part: value 0: 2 (<= 1)"
    assert lines[-2] == "part: rate 19: 19,000 images/s"
    assert lines[-1] == "0 of 60 checks passed; 60 rows are measurements."
    write_table(tmp_path)
    assert "| rate 59 | 59,000 | images/s |  |  |" in (tmp_path / "results.md").read_text()


QUICK = ("agreement", "memory", "bf16", "determinism", "states", "profile")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_checks_pass_at_tiny_size(name, part_context):
    """The checks that need only one process pass on this CPU, and each yields a row."""
    part, rows = next(part for part in PARTS if part.name == name), []
    run_checks(part.checks(), part_context, rows.append)
    assert [row for row in rows if row.passed is False] == []
    assert len(rows) > len(part.checks())


def test_a_profile_counts_calls_and_device_time(part_context, monkeypatch):
    """Launches and waits are calls of the driver; copies count as busy time of the card."""

    def event(key, count, microseconds, kind=DeviceType.CUDA):
        return SimpleNamespace(
            key=key, count=count, self_device_time_total=microseconds, device_type=kind, is_user_annotation=False
        )

    events = [event("cudaLaunchKernel", 7, 0, DeviceType.CPU), event("cudaStreamSynchronize", 3, 0, DeviceType.CPU)]
    events += [event("Memcpy HtoD (Pinned -> Device)", 4, 2000), event("a kernel", 7, 9000)]
    profiler = MagicMock()
    profiler.return_value.__enter__.return_value.key_averages.return_value = averages = MagicMock()
    averages.__iter__.side_effect = lambda: iter(events)
    monkeypatch.setattr(profile, "profile", profiler)
    counts = profile._profile(part_context, "title", lambda: None)
    assert (counts.launches, counts.waits, counts.busy_ms, counts.copy_ms) == (7, 3, 11.0, 2.0)
    assert counts.copied == "Memcpy HtoD (Pinned -> Device) x4"


def test_counters_without_dimensions_may_be_on_the_cpu(part_context):
    """An optimiser's tensors with dimensions must be on the device; torch keeps RMSprop's counters on the CPU."""
    weight = torch.nn.Parameter(torch.empty(4, 3, 3, 3, device="meta").to(memory_format=torch.channels_last))
    there = replace(part_context, device=Device("meta", 1))
    for average, elsewhere in ((torch.empty_like(weight), 0), (torch.empty(4, 3, 3, 3), 1)):
        optimizer = SimpleNamespace(state={weight: {"step": torch.zeros(()), "square_avg": average}})
        model = SimpleNamespace(parameters=lambda: [weight])
        state = SimpleNamespace(optimizer=optimizer, model=model, average=None, best={})
        rows = {row.what: row.value for row in states._layout(state, there, "x")}
        assert rows["x: optimiser tensors elsewhere than on the device"] == elsewhere


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_kit_at_tiny_size(tmp_path):
    """One command runs every part on a machine without a GPU, reports that, and ends with its summary."""
    command = [sys.executable, "-m", "tests.gpu", "--out", str(tmp_path / "out"), "--minutes", "9", "--tiny"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + (tmp_path / "out" / "log.txt").read_text()[-3000:]
    assert "machine: card: no GPU" in found.stdout
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {row["part"] for row in rows} == {"machine", *(part.name for part in PARTS)}
    assert len(list((tmp_path / "out").iterdir())) <= 8


def test_the_kit_blocks_optional_packages():
    """Packages that a GPU machine may lack cannot be imported inside the kit."""
    code = "from gpu.blocked import block_imports; block_imports(); import segsweep.sweep.run, segsweep.report.write; import ray"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert found.stderr.strip().endswith("ModuleNotFoundError: ray is blocked: the GPU kit must run without it")
