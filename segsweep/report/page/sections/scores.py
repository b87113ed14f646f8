"""The section on why a source helps: scores of the sources beside the gain that the study measured."""

import math
from collections.abc import Hashable, Mapping

import pandas as pd

from segsweep.report.answer.limits import chance_text
from segsweep.report.answer.questions import Question
from segsweep.report.layout import number
from segsweep.report.page.document import Section
from segsweep.report.page.dots import UNKNOWN, Dot, Dots, dots_figure
from segsweep.report.page.figure import Numbers, scrolled_table
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView
from segsweep.report.source_scores import PAIR, agreement, source_scores

MINUS = "\N{MINUS SIGN}"
NORMAL = 1.96  # standard errors in a 95 % interval's half-width
SHOWN = {
    "logme": "LogME",
    "gbc": "GBC",
    "h_score": "H-score",
    "kid": "KID",
    "source_images": "images",
    "source_classes": "classes",
}
QUALITY = "source_val_mean_iou"
CAPTION = (
    "LogME: evidence of the target's training masks given the source's frozen features, per pixel; computed without "
    "fine-tuning. Bars: 95 % intervals, upwards over {chance} for all sources together. With few sources no score is shown to "
    "predict gains."
)


def scores_section(view: StudyView) -> Section | None:
    """Return a chart per architecture and size, and the table of all scores; None without scores or sources to compare."""
    scores = source_scores(view.records)
    if scores.empty or "source" not in view.answer.design.varied:
        return None
    charts = [_chart(view, rows, key) for key, rows in scores.groupby(["architecture", "image_px"], sort=False, dropna=False)]
    return Section("why", "Why a source helps", markup(charts, scrolled_table(_numbers(view, scores))))


def _chart(view: StudyView, rows: pd.DataFrame, key: object) -> Markup | None:
    architecture, size = key if isinstance(key, tuple) else (key, "")
    question = _question(view, str(architecture))
    known = rows.dropna(subset=["logme"])
    if question is None or len(known) < 2:
        return None
    reference = view.answer.level("source", question.reference)
    dots = [dot for row in known.to_dict("records") if (dot := _dot(view, question, row)) is not None]
    if len(dots) < 2:
        return None
    chart = Dots(
        f"Gain and LogME, {architecture}", "LogME", f"gain over {reference}, points of {view.measure}", tuple(dots), has_zero=True
    )
    pairs = _pairs(view, question)
    text = element("p", f"{architecture} at {size} px: LogME {agreement(pairs, known)}.") if len(pairs) else None
    return markup(text, dots_figure(chart, CAPTION.format(chance=chance_text(view.answer))))


def _question(view: StudyView, architecture: str) -> Question | None:
    """Return the question of the sources, for one architecture if several are compared."""
    question = next((each for each in view.answer.questions if each.axis == "source"), None)
    if question is None or "architecture" not in view.answer.design.varied:
        return question
    strata = [stratum for each in question.dependences if each.axis == "architecture" for stratum in each.strata]
    return next((stratum for stratum in strata if stratum.stratum["architecture"] == architecture), None)


def _dot(view: StudyView, question: Question, row: Mapping[Hashable, object]) -> Dot | None:
    """Return the point of a source; None if the study did not measure its gain. The reference has the gain 0."""
    source, score, error = str(row["source"]), float(str(row["logme"])), float(str(row["logme_se"]))
    across = (score - NORMAL * error, score + NORMAL * error) if math.isfinite(error) else UNKNOWN
    name = view.answer.level("source", source)
    if source == question.reference:
        return Dot(name, score, 0.0, across, UNKNOWN, view.groups[source], label=name)
    difference = next((each for each in question.differences if each.name == source), None)
    if difference is None:
        return None
    low, high = (100 * end for end in difference.interval)
    return Dot(name, score, 100 * difference.estimate, across, (low, high), view.groups[source], label=name)


def _pairs(view: StudyView, question: Question) -> pd.DataFrame:
    """Return every pair of sources with the interval of its difference, as `agreement` needs them.

    Without pairs whose seeds do not suffice for a verdict.
    """
    gains: dict[str, Mapping[str, float]] = {question.reference: {}, **{each.name: each.weights for each in question.differences}}
    names, rows = list(gains), []
    for place, one in enumerate(names):
        for two in names[place + 1 :]:
            cells = {*gains[one], *gains[two]}
            weights = {cell: gains[one].get(cell, 0.0) - gains[two].get(cell, 0.0) for cell in cells}
            engine = view.answer.scores.engine(list(cells))
            if engine is not None and engine.contrasts.decides:
                found = engine.contrasts.estimates(engine.weights(weights))
                rows.append((one, two, float(found.low[0]), float(found.high[0])))
    return pd.DataFrame(rows, columns=list(PAIR))


def _numbers(view: StudyView, scores: pd.DataFrame) -> Numbers:
    several = [name for name in ("architecture", "image_px") if scores[name].nunique() > 1]
    columns = [name for name in SHOWN if scores[name].notna().any()]
    quality = ["own val mean IoU"] if scores[QUALITY].notna().any() else []
    rows = []
    numbers = scores.astype(dict.fromkeys((*columns, QUALITY), "float64"))  # a source without a stage has no such facts
    for row in numbers.to_dict("records"):
        values = [_shown(row[name], name) for name in columns] + [number(row[QUALITY]) for _ in quality]
        rows.append((view.answer.level("source", str(row["source"])), *(str(row[name]) for name in several), *values))
    return Numbers(("", *several, *(SHOWN[name] for name in columns), *quality), tuple(rows))


def _shown(value: float, name: str) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if name.startswith("source_") else f"{value:.4g}".replace("-", MINUS)
