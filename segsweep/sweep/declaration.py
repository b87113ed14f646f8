"""A study's declaration as plain values, for its records and for comparing two declarations."""

from typing import Any

from segsweep.records.schema import SCHEMA_VERSION
from segsweep.sweep.plan import Plan
from segsweep.sweep.points import points_of
from segsweep.version import segsweep_version


def declaration(plan: Plan) -> dict[str, Any]:
    """Return a study and its cells as plain values, for the records."""
    study = plan.study
    return {
        "schema_version": SCHEMA_VERSION,
        "segsweep": segsweep_version(),
        "name": study.name,
        "target": {
            "name": study.target_name,
            "classes": study.target.classes,
            "protocol": study.target.protocol,
            "foreground": study.target.foreground,
            "class_map": {name: list(synonyms) for name, synonyms in study.target.class_map.items()},
            "groups": study.target.groups,
            "leakage": study.target.leakage,
        },
        "compare": [{axis: list(values) for axis, values in grid.items()} for grid in study.grids],
        "tune": {axis: str(tuned) for axis, tuned in study.tune.items()},
        "fixed": dict(study.fixed),
        "trials_per_cell": len(points_of(study)) if study.search is None else None,
        "seeds": study.seeds,
        **({"looks": list(study.looks)} if study.looks else {}),
        "source_seeds": study.source_seeds,
        "source_trials": study.source_trials,
        "source_range": str(study.range_of_source_rates) if study.range_of_source_rates else None,
        "early_stopping": str(study.early_stopping) if study.early_stopping else None,
        **({"search": study.search.as_dict()} if study.search is not None else {}),
        "published": study.published.as_dict() if study.published else None,
        "cells": plan.names,
    }
