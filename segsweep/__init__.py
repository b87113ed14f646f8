"""segsweep: transfer-learning studies for semantic segmentation, declared in one short file."""

from typing import Any

from segsweep.config import (
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
    SelfSupervised,
    Study,
    Supervised,
    Target,
    Uniform,
    deviations_in,
)
from segsweep.errors import UserError, tell_without_traceback
from segsweep.records.wandb.options import MirrorOptions

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
    "SelfSupervised",
    "Study",
    "Supervised",
    "Target",
    "Uniform",
    "UserError",
    "deviations_in",
    "main",
    "run",
]


tell_without_traceback()


def __getattr__(name: str) -> Any:
    """Load `run` and `main` when they are asked for: they need torch, which reading records does not."""
    if name == "run":
        from segsweep.sweep.run import run

        return run
    if name == "main":
        from segsweep.cli.study_script import main

        return main
    raise AttributeError(f"module 'segsweep' has no attribute {name!r}")
