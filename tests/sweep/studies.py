"""Small studies for planner tests, and their plans on invented data."""

from typing import Any

from segsweep.config import LogUniform, Study, Target
from segsweep.sweep.plan import Plan, make_plan


def small_study(**changes: Any) -> Study:
    """Return a study of 2 sources x 2 freeze policies, four tuning trials and two seeds a cell."""
    values: dict[str, Any] = {
        "name": "small",
        "target": Target("pets"),
        "compare": {"source": ["random", "supervised:voc2012"], "freeze": ["none", "encoder"]},
        "tune": {"learning_rate": LogUniform(1e-5, 1e-2)},
        "fixed": {"epochs": 4, "precision": "float32"},
        "trials_per_cell": 4,
        "seeds": 2,
    }
    return Study(**{**values, **changes})


def plan_of(study: Study) -> Plan:
    """Return the plan of a study, with data keys made up from the names."""
    return make_plan(study, lambda name, scheme, image_px, fit: f"data {name} {scheme} {image_px} {fit}")
