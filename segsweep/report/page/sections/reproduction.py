"""The section on how to repeat a study."""

import time
from collections.abc import Mapping
from typing import Any

from segsweep.records.start_prediction import StartPrediction
from segsweep.report.page.document import Section
from segsweep.report.page.markup import element
from segsweep.report.page.study_view import StudyView
from segsweep.version import segsweep_version


def reproduction_section(view: StudyView) -> Section:
    """Return what is needed to run the study again: command, versions, hardware and settings, as far as the records know."""
    facts = {**_start(view), **_declaration(view)}
    rows = [
        element("tr", element("th", name, scope="row"), element("td", value, class_="wrap"))
        for name, value in facts.items()
        if value
    ]
    table = element("table", element("tbody", rows), class_="facts")
    return Section("reproduce", "Reproduce", element("div", table, class_="scroll"))


def _start(view: StudyView) -> dict[str, str]:
    """Return the facts of the study's last start."""
    study, devices = view.records.study, view.records.trials["device"].dropna().astype(str).unique()
    starts = study.get("starts") or [{}]
    start = starts[-1]
    git = start.get("git") or {}
    uncommitted = ", with uncommitted changes" if git.get("uncommitted") else ""
    return {
        "command": str(start.get("command") or ""),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(start["at"])) if "at" in start else "",
        "commit": f"{git['commit']}{uncommitted}" if git.get("commit") else "",
        "segsweep": f"{study.get('segsweep', 'unknown')}; this page: {segsweep_version()}",
        "versions": _pairs(start.get("versions") or {}),
        "time": next((known.sentence for each in reversed(starts) if (known := StartPrediction.of_start(each))), ""),
        "hardware": _pairs(start.get("hardware") or {}),
        "trials ran on": ", ".join(devices),
    }


def _declaration(view: StudyView) -> dict[str, str]:
    study = view.records.study
    return {
        "target": _pairs(study["target"]),
        "compared": _pairs({axis: values for grid in study["compare"] for axis, values in grid.items()}),
        "tuned": _pairs(study["tune"]),
        "fixed": _pairs(study["fixed"]),
        "repeated": f"seeds={study['seeds']}; source_seeds={study['source_seeds']}",
        "tuning": _pairs({"trials_per_cell": study.get("trials_per_cell"), "early_stopping": study.get("early_stopping")}),
        "records": str(study.get("records_id") or ""),
    }


def _pairs(values: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    return "; ".join(f"{name}={shown(value)}" for name, value in values.items() if value not in (None, {}, []))
