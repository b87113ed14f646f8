"""Whole studies in one process, from declaration to table."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.part_context import PartContext
from gpu.rows import Row, equal, holds, note

SWEEPS = Path(__file__).parents[3] / "sweeps"


def encoders_demo(part_context: PartContext) -> Iterator[Row]:
    """Yield the outcome of the demo of `sweeps/encoders.py`: supervised source stages, frozen and unfrozen encoders."""
    yield from _demo(part_context, "encoders")


def self_supervised_demo(part_context: PartContext) -> Iterator[Row]:
    """Yield the outcome of the demo of `sweeps/self_supervised.py`: SimCLR stages and their k-NN probe."""
    if not part_context.tiny:
        yield from _demo(part_context, "self_supervised")


def domain_shift_demo(part_context: PartContext) -> Iterator[Row]:
    """Yield the outcome of the demo of `sweeps/domain_shift.py`: tests of the source's model, clips."""
    if not part_context.tiny:
        yield from _demo(part_context, "domain_shift")


def _demo(part_context: PartContext, script: str) -> Iterator[Row]:
    from segsweep.report.write import write_page, write_report
    from segsweep.sweep.run import run

    study: Any = runpy.run_path(str(SWEEPS / f"{script}.py"))["demo"]
    options = {"runner": "inline", "device": part_context.device.name, "threads": part_context.device.threads}
    records = run(study, out=part_context.folder / "runs", store=part_context.folder / "store", **options)
    trials, stages = records.trials, records.stages
    yield equal(f"{script}: trials finished", int((trials["status"] == "finished").sum()), len(trials))
    yield equal(f"{script}: stages finished", int((stages["status"] == "finished").sum()), len(stages))
    for reason in trials.loc[trials["status"] != "finished", "reason"] if "reason" in trials else ():
        yield holds(f"{script}: a trial failed", False, str(reason))
    yield equal(f"{script}: device in the records", str(trials["device"].iloc[0]), part_context.device.label)
    yield equal(
        f"{script}: precision", str(trials["precision"].iloc[0]) if "precision" in trials else "?", _precision(part_context)
    )
    yield note(f"{script}: test IoU, mean over trials", float(trials["test_iou"].mean()))
    text = write_report(records, part_context.folder / "store")
    yield holds(f"{script}: a report is written", len(text.splitlines()) > 5, f"{len(text.splitlines())} lines")
    yield holds(f"{script}: a page is written", write_page(records, part_context.folder / "store").is_file(), "report.html")
    again = run(study, out=part_context.folder / "runs", store=part_context.folder / "store", **options)
    yield equal(f"{script}: trials after a second start", len(again.trials), len(trials))


def _precision(part_context: PartContext) -> str:
    from segsweep.training.device import resolve_precision

    return resolve_precision("auto", part_context.device)


CHECKS = (encoders_demo, self_supervised_demo, domain_shift_demo)
