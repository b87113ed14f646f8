"""Options of a run: runner, device and workers, for `segsweep.run` and for a study's command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from segsweep.errors import UserError

RUNNER_NAMES = ("ray", "inline")


def _option(default: Any, text: str, kind: type | None = None, metavar: str | None = None, **more: Any) -> Any:
    """Return a field with its help text and the type of its command-line argument (None for a switch)."""
    return field(default=default, metadata={"help": text, "kind": kind, "metavar": metavar, **more})


@dataclass(frozen=True)
class Options:
    """Runner, device and workers of a run. Each field is an option of the command line, `--gpus-per-trial` for `gpus_per_trial`.

    Raises `UserError` for a number below 1 and for an impossible share of a GPU.
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
    deterministic: bool = _option(False, "make results on a GPU bit-identical between runs, as far as torch supports it; slower")

    def __post_init__(self) -> None:
        for name in ("threads", "max_concurrent", "workers_per_stage", "workers_per_trial"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{flag(name)} {value}: must be at least 1")
        if self.wait_minutes is not None and not self.wait_minutes >= 0:
            raise UserError(f"--wait-minutes {self.wait_minutes:g}: must be at least 0")
        if not self.wait_for_nodes >= 0:
            raise UserError(f"--wait-for-nodes {self.wait_for_nodes:g}: must be at least 0")
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


def command_line_options() -> list[tuple[str, Mapping[str, Any]]]:
    """Return every option's flag and the keywords with which argparse adds it."""
    return [(flag(option.name), _keywords(option.default, option.metadata)) for option in fields(Options)]


def _keywords(default: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    keywords = {name: value for name, value in metadata.items() if name != "kind" and value is not None}
    if metadata["kind"] is None:
        return {"action": "store_true", **keywords}
    return {"type": metadata["kind"], "default": default, **keywords}
