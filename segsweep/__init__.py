"""segsweep: transfer-learning studies for semantic segmentation, declared in one short file."""

from typing import Any

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
    SelfSupervised,
    Study,
    Supervised,
    Target,
    Uniform,
    deviations_in,
)
from segsweep.records.wandb.options import MirrorOptions  # noqa: E402

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


def __getattr__(name: str) -> Any:
    """Load `run` and `main` when they are asked for: `run` needs torch, which reading records does not."""
    if name == "run":
        from segsweep.sweep.run import run

        return run
    if name == "main":
        from segsweep.cli.study_script import main

        return main
    raise AttributeError(f"module 'segsweep' has no attribute {name!r}")
