"""segsweep: transfer-learning studies for semantic segmentation, each declared in one short file."""

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from segsweep.errors import UserError, install_excepthook

install_excepthook()  # before the other imports, which Ctrl-C may interrupt

from segsweep.config import (  # noqa: E402
    Architecture,
    Choice,
    File,
    LogUniform,
    Loss,
    PerCellASHA,
    PerCellMedian,
    PerCellRacing,
    Published,
    PublishedRun,
    Search,
    SelfSupervised,
    SelfSupervisedMethod,
    Study,
    Supervised,
    Target,
    Uniform,
    deviations_in,
)
from segsweep.records.views import register_view  # noqa: E402
from segsweep.records.wandb.options import MirrorOptions  # noqa: E402

if TYPE_CHECKING:
    from segsweep.cli.study_script import main
    from segsweep.records.reader import load
    from segsweep.sweep.run import run

__all__ = [
    "Architecture",
    "Choice",
    "File",
    "LogUniform",
    "Loss",
    "MirrorOptions",
    "PerCellASHA",
    "PerCellMedian",
    "PerCellRacing",
    "Published",
    "PublishedRun",
    "Search",
    "SelfSupervised",
    "SelfSupervisedMethod",
    "Study",
    "Supervised",
    "Target",
    "Uniform",
    "UserError",
    "deviations_in",
    "load",
    "main",
    "run",
]

register_view("answer", "segsweep.report.answer.answer:answer_of")  # records may not import report
register_view("summary", "segsweep.report.notebook:summary_of")
register_view("html", "segsweep.report.notebook:records_html")


def __dir__() -> list[str]:
    """Return the public names, with those that are imported on first use."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import `load`, `run` and `main` on first use: `run` needs torch, which a program that only reads records does not need."""
    if name == "load":
        from segsweep.records.reader import load

        return load
    if name == "run":
        from segsweep.sweep.run import run

        return run
    if name == "main":
        if _is_requested_by_script(sys._getframe(1)):
            from segsweep.cli.continuing import how_to_continue
            from segsweep.cli.ending import end_at_once

            end_at_once(how_to_continue)  # until `main` runs, which handles signals itself
        from segsweep.cli.study_script import main

        return main
    raise AttributeError(f"module 'segsweep' has no attribute {name!r}")


def _is_requested_by_script(frame: FrameType | None) -> bool:
    """Return whether a frame, or its caller outside Python's import machinery, belongs to the script that this process runs."""
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "__main__" and "__file__" in frame.f_globals
