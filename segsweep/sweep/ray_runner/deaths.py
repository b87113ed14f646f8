"""Deaths of workers: the reason in one line, parsed from Ray's text, and a fix for workers killed for lack of memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, requires

from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError

from segsweep.sweep.ray_runner.machines import UNFIT

DETAIL, CAUSES = "Worker exit detail: ", " Some common causes"
MEMORY = "running low on memory"
BECAUSE = ("The actor is dead because ", "The actor died because its node")  # other texts with "died because" head a traceback
WITH_MACHINE = ("node has died", "died by preemption", "node preemption", "was preempted", "node it was running on is dead")


@dataclass(frozen=True)
class Death:
    """The reason of a worker's death in one line, and whether its machine died or was preempted (`with_machine`).

    `unfit` is (id or address of a machine that cannot run segsweep, the problem); None if that is not the reason.
    """

    reason: str
    with_machine: bool
    unfit: tuple[str, str] | None


def death_of(report: str) -> Death:
    """Parse Ray's text about the death of a worker, or about an error in its creation."""
    return Death(reason_of(report), any(sign in report for sign in WITH_MACHINE), _unfit(report))


def _unfit(report: str) -> tuple[str, str] | None:
    """Return the machine on which a worker could not start, and the problem; None if the machine is not at fault."""
    if (found := re.search(rf"{UNFIT}(\w+): (.+)", report)) is not None:
        return found[1], found[2]
    where = re.search(r"creation task.*\bip=([\w.:]+)", report)
    missing = re.search(r"^ModuleNotFoundError: No module named '(\w+).*", report, re.MULTILINE)
    at_fault = where is not None and missing is not None and missing[1] in _own_modules()
    return (where[1], f"cannot run segsweep: {missing[0]}") if where and missing and at_fault else None


@cache
def _own_modules() -> frozenset[str]:
    """Return the modules of segsweep and of the libraries that it requires. Other missing modules are the study's fault."""
    required = {canonical_name(re.split(r"[^\w.-]", each)[0]) for each in requires("segsweep") or () if "extra ==" not in each}
    modules = packages_distributions().items()
    return frozenset({"segsweep"} | {name for name, of in modules if required & {canonical_name(each) for each in of}})


def canonical_name(distribution: str) -> str:
    """Return the normalised name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def reason_of(report: str) -> str:
    """Return the line with the reason from Ray's text about the death of a worker or an error in its creation.

    It knows the texts of Ray 2.60: a lost process, a process that Ray killed for lack of memory, a preempted machine, and a
    traceback (its last line). For any other text it returns the first line.
    """
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    for line in lines:
        if MEMORY in line:
            return f"the machine ran out of memory: {line}"
        if DETAIL in line:
            detail = line.partition(DETAIL)[2].partition(CAUSES)[0]
            return f"its process was killed or crashed, possibly for lack of memory: {detail}"
        if line.startswith(BECAUSE):
            return line.partition(" because ")[2]
    if not lines:
        return "the reason is unknown"
    return lines[-1] if "::" in lines[0] else lines[0]


@contextmanager
def memory_kills_as_deaths() -> Iterator[None]:
    """Within this context, make Tune treat a worker that Ray kills for lack of memory as dead.

    By default, Tune 2.60 ends the whole run.
    """
    before = RayActorManager._actor_task_failed

    def failed(
        self: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:  # Ray's parameter names
        dead = isinstance(exception, OutOfMemoryError)
        before(self, tracked_actor_task, RayActorError(error_msg=str(exception)) if dead else exception)

    RayActorManager._actor_task_failed = failed  # type: ignore[method-assign]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = before  # type: ignore[method-assign]
