"""Frozen, validated settings: study, target, source, trial, stage, and their digests. Knows nothing of torch or Ray."""

from segsweep.config.early_stopping import PerCellASHA, PerCellMedian
from segsweep.config.settings import Settings
from segsweep.config.source import Source, Stage
from segsweep.config.space import Choice, LogUniform, Uniform
from segsweep.config.study import Study, Target
from segsweep.config.work import StageSpec, Trial

__all__ = [
    "Choice",
    "LogUniform",
    "PerCellASHA",
    "PerCellMedian",
    "Settings",
    "Source",
    "Stage",
    "StageSpec",
    "Study",
    "Target",
    "Trial",
    "Uniform",
]
