"""The price of a study on GPUs that this machine does not have, from measurements in the store."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segsweep import Study, main
from segsweep.store.contents import SPEEDS
from segsweep.store.folder import FolderStore
from segsweep.training.timings import Timings, read_timings

H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"
IMAGE_SECONDS, MEMORY = 0.001, 3_000_000_000
OPTIONS = ("--runner", "inline", "--device", "cpu", "--threads", "1")


@pytest.fixture
def planned(tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Return a function that plans the tiny study with options, and returns its exit code, stdout and stderr."""

    def call(*options: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(tiny_study, arguments=["--plan", "--out", str(tmp_path / "runs"), *OPTIONS, *options])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


@pytest.fixture
def measured(planned, tmp_path: Path) -> None:
    """Plan the tiny study once, and store its probes as if two kinds of GPUs had made them; the A100 computes in bfloat16."""
    assert planned()[0] == 0
    text = FolderStore(tmp_path / "store").text(SPEEDS)
    probes = {}
    for key, probe in read_timings(text).probes.items():
        for kind, slower, precision in ((H100, 1, "float32"), (A100, 2, "bfloat16")):
            other = json.dumps([kind, *json.loads(key)[1:6], precision, *json.loads(key)[7:]])
            times = {"train_seconds": slower * IMAGE_SECONDS, "evaluate_seconds": 0.0, "build_seconds": 0.0, "cpu_share": None}
            probes[other] = replace(probe, **times, load=0.0, memory_bytes=MEMORY, base_bytes=0)
    text.write(Timings(probes).as_text())


@pytest.mark.usefixtures("measured")
def test_a_plan_for_other_gpus_uses_their_measurements(planned) -> None:
    """Four GPUs share the work of one, at the speed, the precision and the memory of their kind; this machine does not matter."""
    plans = {}
    for count, kind in ((1, "h100"), (4, "h100"), (4, "A100")):
        code, out, _ = planned("--gpus", str(count), "--gpu-kind", kind, "--json")
        assert code == 0
        plans[count, kind] = json.loads(out)
    one, four, slow = (plans[key]["prediction"] for key in plans)
    assert (plans[4, "h100"]["device"], plans[4, "h100"]["workers"]) == (H100, 4)
    assert plans[4, "A100"]["runs_on"] == f"4 x {A100}"
    assert four["device_seconds"] == one["device_seconds"]
    assert four["finish_seconds"]["expected"] == pytest.approx(one["finish_seconds"]["expected"] / 4, rel=0.3)
    assert one["device_seconds"]["expected"] / slow["device_seconds"]["expected"] == pytest.approx(0.5, abs=0.3)
    assert one["memory_bytes"]["expected"] == MEMORY
    assert one["free_share"] == 1.0
    assert {stage["settings"]["precision"] for stage in plans[4, "A100"]["stage_list"]} == {"bfloat16"}
    assert {stage["settings"]["precision"] for stage in plans[4, "h100"]["stage_list"]} == {"float32"}


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["--gpus", "4", "--gpu-kind", "V100"],
            f"no measurement of such a GPU; measured are: {A100}, {H100}. ",
        ),
        (["--gpus", "4"], f"--gpus 4: names 2 kinds of GPUs: {A100}, {H100}; choose one with --gpu-kind"),
        (["--gpus", "0", "--gpu-kind", "H100"], "--gpus 0: must be at least 1"),
        (["--gpu-kind", "H100"], "--gpu-kind: only allowed with --gpus"),
        (
            ["--gpus", "4", "--gpu-kind", "H100", "--set", "image_px=64"],
            f"--gpu-kind {H100}: unet4 at 64 px, batch size 8, freeze=none, float32 is not measured on it. The same command",
        ),
    ],
)
def test_what_is_not_measured_is_one_line_with_the_remedy(planned, options: list[str], reason: str) -> None:
    """An unknown or ambiguous kind, and work that was not measured on it, are refused with what is known and how to measure."""
    code, out, err = planned(*options)
    assert (code, out) == (2, "")
    assert reason in err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ")


def test_planned_gpus_are_only_for_plans(tiny_study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """A run with `--gpus` is refused before anything starts."""
    with pytest.raises(SystemExit) as end:
        main(tiny_study, arguments=["--gpus", "4"])
    assert end.value.code == 2
    assert "--gpus: only allowed with --plan" in capsys.readouterr().err
