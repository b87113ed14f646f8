"""The cost of a mirror in W&B for a study, also if W&B is slow, refuses, or never answers."""

import time
from pathlib import Path
from statistics import median

import psutil
import pytest
from wandb_server import Refuse, Silent, Slow, isolated_server

import segsweep
from segsweep.config import Study

ROUNDS = 3
HOMES = {"no mirror": None, "W&B answers": None, "1 s late": Slow(1.0), "refuses (503)": Refuse(), "never answers": Silent()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mirror_cost(tiny_study: Study, tmp_path, monkeypatch):
    """Measure whole runs of a study of 16 trials and a stage, alternating; the baseline is the same study without a mirror."""
    seconds: dict[str, list[float]] = {destination: [] for destination in HOMES}
    for number in range(ROUNDS):
        for destination, fault in HOMES.items():
            folder = tmp_path / f"{number} {destination}"
            with isolated_server(folder / "wandb", monkeypatch) as server:
                server.fault = fault
                started = time.perf_counter()
                mirror = segsweep.MirrorOptions("off" if destination == "no mirror" else "online", "lab/pets")
                records = segsweep.run(tiny_study, out=folder / "runs", runner="inline", device="cpu", threads=1, mirror=mirror)
                asked = time.perf_counter() - started
                ended = records.trials["ended_at"].max().timestamp() - records.study["starts"][-1]["at"]
                seconds[destination].append(ended)
                _end_mirror(folder)
                server.notes.missing.clear()
                server.notes.errors.clear()
            print(
                f"\nround {number + 1}, {destination}: last trial ended after {ended:.2f} s, command after {asked:.2f} s", end=""
            )
    baseline = median(seconds["no mirror"])
    print()
    for name, times in seconds.items():
        print(f"{name:15s} {median(times):6.2f} s, ratio {median(times) / baseline:.3f} ({min(times):.2f} to {max(times):.2f})")


def _end_mirror(folder: Path) -> None:
    """End the sender that a command has left running."""
    for process in psutil.process_iter():
        try:
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()
        except psutil.Error:
            continue
