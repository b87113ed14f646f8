"""Options of a run: runner, device and workers, for `segsweep.run` and for a study's command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from math import isfinite
from typing import Any

from segsweep.errors import UserError
from segsweep.sweep.deadline import parse_deadline

RUNNER_NAMES = ("ray", "inline")
LIMITS = "limits"  # group of options that limit the work of a run


def _option(default: Any, text: str, kind: type | None = None, metavar: str | None = None, **more: Any) -> Any:
    """Return a field with its help text and the type of its command-line argument (None for a switch)."""
    return field(default=default, metadata={"help": text, "kind": kind, "metavar": metavar, **more})


@dataclass(frozen=True)
class Options:
    """Runner, device, workers and limits of a run. Each field is an option of the command line, `--gpus-per-trial` for
    `gpus_per_trial`.

    `deadline` is a text as on the command line, or a datetime; it becomes a datetime. Raises `UserError` for a number below 1, an
    impossible share of a GPU, a budget that is not positive, and a deadline that is no moment in the future.
    """

    runner: str = _option(
        "ray", "ray, or inline: run all tasks in this process, in sequence (default: ray)", str, choices=RUNNER_NAMES
    )
    device: str = _option(
        "auto", "device of each worker: auto (a GPU if there is one), cpu or cuda; inline also cuda:N (default: auto)", str
    )
    threads: int | None = _option(None, "CPU threads per worker (default: the cores divided by the workers)", int, metavar="N")
    gpus_per_trial: float | None = _option(None, "GPUs per trial: 1, or a share such as 0.5 (default: 1)", float, metavar="SHARE")
    max_concurrent: int | None = _option(
        None, "maximum number of workers (default: one per GPU, or one per core)", int, metavar="N"
    )
    workers_per_stage: int = _option(1, "number of workers that train one source stage together (default: 1)", int, metavar="N")
    workers_per_trial: int = _option(1, "number of workers that train one trial together (default: 1)", int, metavar="N")
    wait_minutes: float | None = _option(
        None,
        "longest wait for a full disk or a lost store, in minutes, before the run ends with exit code 75 (default: no limit)",
        float,
        metavar="N",
    )
    wait_for_nodes: float = _option(
        10.0,
        "longest wait for the first machine that an autoscaler launches, in minutes (default: 10)",
        float,
        metavar="MINUTES",
    )
    keep_checkpoints: bool = _option(
        False, "keep the last checkpoint of every finished trial, so that a trial with more epochs or steps continues it"
    )
    budget_hours: float | None = _option(
        None,
        "largest device time of the study over all starts, in hours of one worker's device (default: no limit)",
        float,
        metavar="H",
        group=LIMITS,
    )
    deadline: str | datetime | None = _option(  # noqa: RUF009  # datetimes are immutable
        None,
        "start nothing that is predicted to end later: a time of day (07:00), a date and time (2027-01-31T07:00) or a time from "
        "now (+8h, +90min, +2d)",
        str,
        metavar="T",
        group=LIMITS,
    )
    deterministic: bool = _option(False, "make results on a GPU bit-identical between runs, as far as torch supports it; slower")

    def __post_init__(self) -> None:
        for option in fields(self):
            value, kind = getattr(self, option.name), option.metadata["kind"]
            if kind in (int, float) and value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise UserError(f"{flag(option.name)} {value!r}: must be a number")
        for name in ("threads", "max_concurrent", "workers_per_stage", "workers_per_trial"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{flag(name)} {value}: must be at least 1")
        if self.wait_minutes is not None and not self.wait_minutes >= 0:
            raise UserError(f"--wait-minutes {self.wait_minutes:g}: must be at least 0")
        if not self.wait_for_nodes >= 0:
            raise UserError(f"--wait-for-nodes {self.wait_for_nodes:g}: must be at least 0")
        if self.budget_hours is not None and not (self.budget_hours > 0 and isfinite(self.budget_hours)):
            raise UserError(f"--budget-hours {self.budget_hours:g}: must be a number of hours above 0")
        if self.deadline is not None:
            object.__setattr__(self, "deadline", parse_deadline(self.deadline))
        gpus = self.gpus_per_trial
        if gpus is not None and not (0 < gpus < 1 or gpus == 1):
            raise UserError(
                f"--gpus-per-trial {gpus:g}: must be 1 or a share of one GPU, such as 0.5; "
                "for several GPUs per task use --workers-per-trial or --workers-per-stage"
            )
        if gpus is not None and gpus < 1 and self.group > 1:
            raise UserError(f"--gpus-per-trial {gpus:g}: workers that train together need one GPU each (NCCL rejects shares)")

    @property
    def group(self) -> int:
        """The largest number of workers that one task needs."""
        return max(self.workers_per_stage, self.workers_per_trial)


def flag(name: str) -> str:
    """Return an option as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def command_line_options(group: str | None = None) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the flag of every option of a group, and the keywords with which argparse adds it.

    `LIMITS` are the options that limit the work of a run; None: all others.
    """
    chosen = (option for option in fields(Options) if option.metadata.get("group") == group)
    return [(flag(option.name), _keywords(option.default, option.metadata)) for option in chosen]


def _keywords(default: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    keywords = {name: value for name, value in metadata.items() if name not in ("kind", "group") and value is not None}
    if metadata["kind"] is None:
        return {"action": "store_true", **keywords}
    return {"type": metadata["kind"], "default": default, **keywords}
