"""The W&B run of a whole study: its declaration at the start; its table, figures and records at the end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import wandb

from segsweep.config.digest import digest
from segsweep.records.plan_status import CHOICES, PLAN
from segsweep.records.query import with_all_rows
from segsweep.records.reader import load
from segsweep.records.schema import OF_TEST
from segsweep.records.wandb import names
from segsweep.records.wandb.client import log_artifact, open_run, remove_files, set_config
from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.server import Known

LOCAL = ("store", "starts")  # parts of a declaration that describe only this machine
QUESTION = "question"  # part of a declaration that is sent, and whose change alone sends nothing again
DECLARED = (PLAN, CHOICES)
TABLE, PREDICTIONS = "table.csv", "predictions.png"
STUDY = "study.json"


@dataclass
class StudyRun:
    """A study's summary run in W&B. `known` describes the data sent before; None if the run is new."""

    destination: Destination
    folder: Path
    images: bool
    known: Known | None
    url: str | None = None
    _run: wandb.Run | None = None
    _counts: dict[str, int] = field(default_factory=dict)  # values by keys of the summary

    def begin(self, study: Mapping[str, Any]) -> wandb.Run:
        """Open the run, and send the study's declaration so that it can be read while the study runs."""
        self._run = open_run(
            self.destination,
            names.summary_run(study["name"]),
            new=self.known is None,
            name=f"{study['name']}: summary",
            group=study["name"],
            job_type=names.SUMMARY_JOB,
            tag=names.SUMMARY_JOB,
            config=_config(study),
        )
        self.url = self._run.url
        self._log_records(self._run, study)
        return self._run

    def count(self, statuses: Mapping[str, int]) -> None:
        """Update the numbers of trials by status."""
        counts = {f"trials/{status}": count for status, count in statuses.items()}
        if self._run is not None and counts != self._counts:
            self._run.summary.update(counts)
        self._counts = counts

    def end(self, study: Mapping[str, Any]) -> None:
        """Send the table, the figures and the tables of tests, unless all were sent before."""
        content = self._digest(study)
        sent = self.known is not None and self.known.sent == content
        if self._run is None and sent:
            return
        if (run := self._run) is None:
            run = self.begin(study)
        else:  # it was opened with an earlier declaration
            set_config(run, _config(study))
            self._log_records(run, study)
        if not sent:
            run.log(self._figures())
        run.summary.update({**self._counts, names.EPOCHS: 0})
        run.finish(exit_code=0)
        self.destination.confirm(names.summary_run(study["name"]), content)
        remove_files(run)

    def _digest(self, study: Mapping[str, Any]) -> str:
        """Return the digest of everything that is sent at the end."""
        shown = (*DECLARED, TABLE, *([PREDICTIONS] if self.images else []))
        files = {name: sha256((self.folder / name).read_bytes()).hexdigest() for name in shown if (self.folder / name).is_file()}
        parts = sorted(path.name for path in (self.folder / "parts").glob("*") if path.name.isdigit())
        declared = {name: value for name, value in _declaration(study).items() if name != QUESTION}
        return digest({"study": declared, "files": files, "parts": parts, "images": self.images})

    def _log_records(self, run: wandb.Run, study: Mapping[str, Any]) -> None:
        """Log the artifact from which records are read back, with the tables that W&B runs cannot hold."""
        artifact = wandb.Artifact(names.records_artifact(study["name"]), type=names.RECORDS_TYPE)
        records = load(self.folder)
        with TemporaryDirectory(dir=self.destination.folder) as temporary:
            folder = Path(temporary)
            (folder / STUDY).write_text(json.dumps(_declaration(study)), encoding="utf-8")
            for table in OF_TEST:
                self._shown(records.table(with_all_rows(table))).to_parquet(folder / f"{table}.parquet")
            for path in (*folder.iterdir(), *(self.folder / name for name in DECLARED)):
                if path.is_file():
                    artifact.add_file(str(path), skip_cache=True)
            log_artifact(run, artifact)

    def _shown(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return a table in the form to send: without permission for images, digests replace image names."""
        return data if self.images or "image" not in data else data.assign(image=data["image"].map(digest).astype("string"))

    def _figures(self) -> dict[str, Any]:
        """Return the table and, if images may be sent, the figures and clips of the report."""
        shown: dict[str, Any] = {}
        if (self.folder / TABLE).is_file() and (self.folder / TABLE).stat().st_size:
            shown["results"] = wandb.Table(dataframe=pd.read_csv(self.folder / TABLE))
        if self.images:
            if (self.folder / PREDICTIONS).is_file():
                shown["predictions"] = wandb.Image(str(self.folder / PREDICTIONS))
            for clip in sorted((self.folder / "clips").glob("*/clip.gif")):
                shown[f"clips/{clip.parent.name}"] = wandb.Video(str(clip), format="gif")
        return shown


def _config(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a declaration, as a run's config."""
    return {name: value for name, value in _declaration(study).items() if isinstance(value, str | int | float)}


def _declaration(study: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in study.items() if name not in LOCAL}
