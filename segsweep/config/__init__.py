"""Frozen, validated settings: study, target, source, trial, stage, and their digests. Imports neither torch nor Ray."""

from segsweep.config.early_stopping import PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.published_results import Published, PublishedRun, deviations_in
from segsweep.config.search import Search
from segsweep.config.settings import Settings
from segsweep.config.source import Source, Stage
from segsweep.config.space import Choice, LogUniform, Uniform
from segsweep.config.study import Study, Target
from segsweep.config.user_objects import Architecture, File, Loss, SelfSupervised, SelfSupervisedMethod, Supervised
from segsweep.config.work import StageSpec, Trial

__all__ = [
    "Architecture",
    "Choice",
    "File",
    "LogUniform",
    "Loss",
    "PerCellASHA",
    "PerCellMedian",
    "PerCellRacing",
    "Published",
    "PublishedRun",
    "Search",
    "SelfSupervised",
    "SelfSupervisedMethod",
    "Settings",
    "Source",
    "Stage",
    "StageSpec",
    "Study",
    "Supervised",
    "Target",
    "Trial",
    "Uniform",
    "deviations_in",
]
