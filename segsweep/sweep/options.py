"""Where and how the work of a study is done: the options of `segsweep.run` and of a study's command line, declared once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from segsweep.errors import UserError

RUNNER_NAMES = ("ray", "inline")


def _option(default: Any, text: str, kind: type | None = None, metavar: str | None = None, **more: Any) -> Any:
    """Return a field with its help, and how the command line reads it: `kind` None is a switch."""
    return field(default=default, metadata={"help": text, "kind": kind, "metavar": metavar, **more})


@dataclass(frozen=True)
class Options:
    """Runner, device and workers of a run. Each field is an option of the command line, `--gpus-per-trial` for `gpus_per_trial`.

    Raises `UserError` for a number below 1 and for a share of a GPU that cannot be.
    """

    runner: str = _option("ray", "ray, or inline: all in this process, one after the other", str, choices=RUNNER_NAMES)
    device: str = _option("auto", "auto, cpu or cuda; inline also cuda:N (default: auto)", str)
    threads: int | None = _option(
        None, "CPU threads of each worker (default: the cores divided among the workers)", int, metavar="N"
    )
    gpus_per_trial: float | None = _option(None, "1, or a share of a GPU as 0.5 (default: 1)", float, metavar="SHARE")
    max_concurrent: int | None = _option(None, "workers at most (default: one per GPU, or one per core)", int, metavar="N")
    workers_per_stage: int = _option(1, "workers that train one source stage together (default: 1)", int, metavar="N")
    workers_per_trial: int = _option(1, "workers that train one trial together (default: 1)", int, metavar="N")
    wait_minutes: float | None = _option(
        None,
        "wait at most so long for a full disk or a lost store, then end with exit code 75 (default: as long as it takes)",
        float,
        metavar="N",
    )
    deterministic: bool = _option(False, "repeat GPU results to the last bit, as far as torch can; slower")

    def __post_init__(self) -> None:
        for name in ("threads", "max_concurrent", "workers_per_stage", "workers_per_trial"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{flag(name)} {value}: must be at least 1")
        if self.wait_minutes is not None and not self.wait_minutes >= 0:
            raise UserError(f"--wait-minutes {self.wait_minutes:g}: must be at least 0")
        gpus = self.gpus_per_trial
        if gpus is not None and not (0 < gpus < 1 or gpus == 1):
            raise UserError(
                f"--gpus-per-trial {gpus:g}: must be 1 or a share of one GPU, as 0.5; "
                "several GPUs for one piece of work are --workers-per-trial and --workers-per-stage"
            )
        if gpus is not None and gpus < 1 and self.group > 1:
            raise UserError(f"--gpus-per-trial {gpus:g}: workers that train together need a whole GPU each (NCCL refuses shares)")

    @property
    def group(self) -> int:
        """The most workers that one piece of work takes."""
        return max(self.workers_per_stage, self.workers_per_trial)


def flag(name: str) -> str:
    """Return how the command line spells an option."""
    return f"--{name.replace('_', '-')}"


def command_line_options() -> list[tuple[str, Mapping[str, Any]]]:
    """Return every option's flag and the keywords with which argparse adds it."""
    return [(flag(option.name), _keywords(option.default, option.metadata)) for option in fields(Options)]


def _keywords(default: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in metadata.items() if name != "kind" and value is not None}
    if metadata["kind"] is None:
        return {"action": "store_true", **told}
    return {"type": metadata["kind"], "default": default, **told}
