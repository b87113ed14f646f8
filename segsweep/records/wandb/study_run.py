"""The run that stands for a whole study: its declaration at the start, and at the end its table, figures and records."""

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
from segsweep.records.wandb import artifacts, names
from segsweep.records.wandb.client import open_run, remove_files
from segsweep.records.wandb.destination import Destination, Known

HERE = ("store", "starts")  # parts of a declaration that say something of this machine alone
DECLARED = (PLAN, CHOICES)
TABLE, PICTURE = "table.csv", "predictions.png"
HOMELESS = ("images", "counts", "confusions")  # tables that W&B has no place for
STUDY = "study.json"


@dataclass
class StudyRun:
    """A study's summary run in W&B."""

    destination: Destination
    folder: Path
    files: Path
    images: bool
    known: Known | None
    url: str | None = None
    _run: wandb.Run | None = field(default=None)
    _counted: dict[str, int] = field(default_factory=dict)

    def begin(self, study: Mapping[str, Any]) -> None:
        """Open the run, and send what the study declares, so that it can be read while it runs."""
        self._run = open_run(
            self.destination,
            self.files,
            names.summary_run(study["name"]),
            new=self.known is None,
            name=f"{study['name']}: summary",
            group=study["name"],
            job_type=names.SUMMARY_JOB,
            config=_config(study),
            tags=[names.SUMMARY_JOB],
        )
        self.url = self._run.url
        self._log_records(study)

    def count(self, statuses: Mapping[str, int]) -> None:
        """Tell how many trials have come how far."""
        changed, self._counted = dict(statuses) != self._counted, dict(statuses)
        if self._run is not None and changed:
            self._run.summary.update(self._counts())

    def end(self, study: Mapping[str, Any]) -> None:
        """Send the table, the figures and what only the records hold, unless all of it has been sent before."""
        sent = self._digest(study)
        if self._run is None and self.known is not None and self.known.sent == sent:
            return
        if self._run is None:
            self.begin(study)
        else:  # it began with what was declared then
            self._run.config.update(_config(study), allow_val_change=True)  # type: ignore[no-untyped-call]
            self._log_records(study)
        assert self._run is not None
        if self.known is None or self.known.sent != sent:
            self._run.log(self._figures())
        self._run.summary.update({**self._counts(), names.EPOCHS: 0})
        self._run.finish(exit_code=0)
        self.destination.confirm(names.summary_run(study["name"]), sent, 0, examples=False)
        remove_files(self._run)
        self._run, self.known = None, Known(sent)

    def _counts(self) -> dict[str, int]:
        return {f"trials/{status}": count for status, count in self._counted.items()}

    def _digest(self, study: Mapping[str, Any]) -> str:
        """Return the digest of all that is sent at the end."""
        shown = (*DECLARED, TABLE, *([PICTURE] if self.images else []))
        files = {name: sha256((self.folder / name).read_bytes()).hexdigest() for name in shown if (self.folder / name).is_file()}
        parts = sorted(path.name for path in (self.folder / "parts").glob("*") if path.name.isdigit())
        return digest({"study": _declaration(study), "files": files, "parts": parts, "images": self.images})

    def _log_records(self, study: Mapping[str, Any]) -> None:
        """Log the artifact from which records are read back, with the tables that are nowhere else."""
        assert self._run is not None
        made = wandb.Artifact(names.records_artifact(study["name"]), type=artifacts.RECORDS)
        records = load(self.folder)
        with TemporaryDirectory(dir=self.files) as temporary:
            folder = Path(temporary)
            (folder / STUDY).write_text(json.dumps(_declaration(study)), encoding="utf-8")
            for table in HOMELESS:
                self._shown(records.table(with_all_rows(table))).to_parquet(folder / f"{table}.parquet")
            for path in (*folder.iterdir(), *(self.folder / name for name in DECLARED)):
                if path.is_file():
                    made.add_file(str(path), skip_cache=True)
            logged = self._run.log_artifact(made)
            if self.destination.mode == "online":
                logged.wait(timeout=artifacts.SECONDS)

    def _shown(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return a table as it may be sent: without images, a digest stands for a picture's name."""
        return data if self.images or "image" not in data else data.assign(image=data["image"].map(digest).astype("string"))

    def _figures(self) -> dict[str, Any]:
        """Return the table and, where pictures may be sent, the figures and clips that the report has written."""
        shown: dict[str, Any] = {}
        if (self.folder / TABLE).is_file() and (self.folder / TABLE).stat().st_size:
            shown["results"] = wandb.Table(dataframe=pd.read_csv(self.folder / TABLE))
        if self.images:
            if (self.folder / PICTURE).is_file():
                shown["predictions"] = wandb.Image(str(self.folder / PICTURE))
            for clip in sorted((self.folder / "clips").glob("*/clip.gif")):
                shown[f"clips/{clip.parent.name}"] = wandb.Video(str(clip), format="gif")
        return shown


def _config(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a declaration is a run's config: its plain values."""
    return {name: value for name, value in _declaration(study).items() if isinstance(value, str | int | float)}


def _declaration(study: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in study.items() if name not in HERE}
