"""Records of studies with known truth: seeds, images and their interplay are drawn, as confirmed runs would record them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segsweep.records import Records
from segsweep.records.query import with_all_rows
from segsweep.records.schema import TABLES
from segsweep.records.tables import frame
from segsweep.report.answer.matching import Design
from segsweep.report.answer.scores import StudyScores

PIXELS = 1000  # of the figure in each image


@dataclass
class Drawn:
    """A study whose cells have the IoU `mean` on average; standard deviations are in units of IoU."""

    compare: Mapping[str, Sequence[Any]]
    mean: Mapping[str, float] = field(default_factory=dict)  # cell -> IoU; 0.5 where it is missing
    seeds: int = 3
    images: int = 40
    of_seed: float = 0.01
    of_image: float = 0.05
    rest: float = 0.03
    random_state: int = 0
    missing: Collection[tuple[str, int]] = ()  # (cell, seed) without a finished run
    source_seeds: int = 1
    study: Mapping[str, Any] = field(default_factory=dict)  # further keys of the declaration

    def cells(self) -> dict[str, dict[str, Any]]:
        """The settings of every cell by its name."""
        names = list(self.compare)
        grid = np.array(np.meshgrid(*(range(len(values)) for values in self.compare.values()), indexing="ij")).reshape(
            len(names), -1
        )
        found = [{axis: self.compare[axis][i] for axis, i in zip(names, column, strict=True)} for column in grid.T]
        return {" ".join(f"{axis}={value}" for axis, value in cell.items()): cell for cell in found}

    def iou(self) -> dict[str, np.ndarray]:
        """The IoU of every image (seeds, images) of each cell."""
        rng = np.random.default_rng(self.random_state)
        shared = rng.normal(0, 2 * self.of_image, self.images)  # difficult images are difficult for all cells
        found = {}
        for cell in self.cells():
            models = rng.normal(0, self.of_seed, max(self.seeds, self.source_seeds))
            chance = [models[seed % self.source_seeds if self.source_seeds > 1 else seed] for seed in range(self.seeds)]
            of_images = shared + rng.normal(0, self.of_image, self.images)
            rest = rng.normal(0, self.rest, (self.seeds, self.images))
            found[cell] = np.clip(self.mean.get(cell, 0.5) + np.array(chance)[:, None] + of_images + rest, 0.0, 1.0)
        return found

    def design(self) -> Design:
        """The study's design."""
        cells = {cell: {axis: str(value) for axis, value in settings.items()} for cell, settings in self.cells().items()}
        return Design(tuple(self.compare), cells, {axis: tuple(map(str, values)) for axis, values in self.compare.items()})

    def scores(self) -> StudyScores:
        """The scores of the study's runs, without records."""
        by_cell = {cell: {seed: [iou] for seed, iou in enumerate(of_seeds, start=1)} for cell, of_seeds in self.iou().items()}
        return StudyScores("iou", False, (0,), (0,), self.images, by_cell)

    def records(self) -> Records:
        """The study's records."""
        trials, counts = [], []
        for (cell, settings), of_seeds in zip(self.cells().items(), self.iou().values(), strict=True):
            for seed, iou in enumerate(of_seeds, start=1):
                status = "failed" if (cell, seed) in self.missing else "finished"
                trial = {
                    "trial_id": f"{cell} {seed}",
                    "cell": cell,
                    "phase": "confirm",
                    "status": status,
                    "seed": seed,
                    "study": "s",
                }
                model = (seed - 1) % self.source_seeds
                trials.append(
                    {**trial, **settings, "source_seed": model, "foreground": "figure", "keep": "val_iou", "loss": "ce"}
                )
                if status == "finished":
                    trials[-1] |= {"val_iou": float(iou.mean()), "test_iou": float(iou.mean())}
                    counts += self._counts(trial, iou)
        return assembled({"trials": frame("trials", trials), "counts": frame("counts", counts)}, self._declaration())

    def _counts(self, trial: Mapping[str, Any], iou: np.ndarray) -> list[dict[str, Any]]:
        """Rows of one run: the prediction misses a part of the figure and adds nothing, so that IoU is hit / PIXELS."""
        hit = np.round(iou * PIXELS).astype(int)
        common = {"trial_id": trial["trial_id"], "cell": trial["cell"], "seed": trial["seed"], "study": "s", "class": "figure"}
        return [
            {**common, "image": f"{number:03d}", "hit": int(value), "true": PIXELS, "predicted": int(value)}
            for number, value in enumerate(hit)
        ]

    def _declaration(self) -> dict[str, Any]:
        return {
            "name": "drawn",
            "target": {"name": "folder:x", "protocol": "split"},
            "compare": [dict(self.compare)],
            "cells": list(self.cells()),
            "seeds": self.seeds,
            "source_seeds": self.source_seeds,
            "tune": {},
            "fixed": {},
            **self.study,
        }


def assembled(tables: Mapping[str, pd.DataFrame], study: Mapping[str, Any]) -> Records:
    """Records from tables, all of whose rows belong to the study."""
    tables = {**{name: frame(name, []) for name in TABLES}, **tables}
    everything = {**tables, **{with_all_rows(name): data for name, data in tables.items()}}
    known = {each.name: everything.pop(each.name) for each in fields(Records) if each.name in everything}
    return Records(Path("drawn"), **known, study=study, choices={}, further=everything)
