"""The tables of a study's records: one per kind of task, one of epochs, and those of tests; and their version."""

from collections.abc import Iterator, Mapping

from segsweep.tasks.kind import INTEGER, NUMBER, TEXT, RecordTable
from segsweep.tasks.kinds import KINDS

SCHEMA_VERSION = 3  # 2: counts, val_dice, method_version; 3: scores
FIRST_METHOD = 1  # method version of rows without one

EPOCHS: Mapping[str, str] = {
    "study": TEXT,
    "trial_id": TEXT,
    "phase": TEXT,
    "epoch": INTEGER,
    "steps": INTEGER,
    "train_loss": NUMBER,
    "val_loss": NUMBER,
    "val_iou": NUMBER,
    "val_mean_iou": NUMBER,
    "val_f1": NUMBER,
    "val_dice": NUMBER,
    "val_accuracy": NUMBER,
    "val_precision": NUMBER,
    "val_recall": NUMBER,
    "train_contrastive_accuracy": NUMBER,
    "contrastive_accuracy": NUMBER,
    "learning_rate": NUMBER,
    "seconds": NUMBER,
    "images_per_second": NUMBER,
    "micro_batch": INTEGER,
    "cpu_seconds": NUMBER,
}
IMAGES: Mapping[str, str] = {
    "study": TEXT,
    "trial_id": TEXT,
    "cell": TEXT,
    "seed": INTEGER,
    "image": TEXT,
    "accuracy": NUMBER,
    "iou": NUMBER,
    "dice": NUMBER,
    "boundary_f": NUMBER,
}
CONFUSIONS: Mapping[str, str] = {
    "study": TEXT,
    "trial_id": TEXT,
    "cell": TEXT,
    "seed": INTEGER,
    "truth": TEXT,
    "predicted": TEXT,
    "pixels": INTEGER,
}
COUNTS: Mapping[str, str] = {
    "study": TEXT,
    "trial_id": TEXT,
    "cell": TEXT,
    "seed": INTEGER,
    "image": TEXT,
    "class": TEXT,
    "hit": INTEGER,
    "true": INTEGER,
    "predicted": INTEGER,
}
OF_TEST: Mapping[str, Mapping[str, str]] = {"images": IMAGES, "counts": COUNTS, "confusions": CONFUSIONS}  # of confirmed runs


class Tables(Mapping[str, Mapping[str, str]]):
    """The columns of every table with their types, by its name. Each kind of task in `KINDS` has a table here."""

    def __getitem__(self, table: str) -> Mapping[str, str]:
        return self._all()[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Mapping[str, str]]:
        return {**{name: table.columns for name, table in task_tables().items()}, "epochs": EPOCHS, **OF_TEST}


TABLES = Tables()


def task_tables() -> dict[str, RecordTable]:
    """Return the tables in which tasks write their records, by name."""
    return {kind.table.name: kind.table for kind in KINDS.values()}


def needed_first() -> list[RecordTable]:
    """Return the tables of tasks in order of dependency: stages before trials."""
    return sorted(task_tables().values(), key=lambda table: table.planned)


def identity_column(table: str) -> str:
    """Return the column with the id of the record that a row belongs to."""
    tables = task_tables()
    return tables[table].identity if table in tables else "trial_id"


FINAL = ("finished", "stopped", "failed", "skipped")  # statuses of tasks that have ended
ONGOING = ("running", "paused")  # statuses with a live driver; without one the record is interrupted
