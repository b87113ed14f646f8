"""Why a worker died, in one line, from what Ray tells; and that one that was killed for want of memory is one that died."""

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
BECAUSE = ("The actor is dead because ", "The actor died because its node")  # another "died because" heads a traceback
WITH_MACHINE = ("node has died", "died by preemption", "node preemption", "was preempted", "node it was running on is dead")


@dataclass(frozen=True)
class Death:
    """Why a worker died, in one line, and whether it died with its machine or because that was preempted.

    `unfit` is a machine, by its id or address, that cannot run segsweep, and the problem; None where that is not the reason.
    """

    reason: str
    with_machine: bool
    unfit: tuple[str, str] | None


def death_of(report: str) -> Death:
    """Return what Ray's text about the death of a worker, or about an error in its creation, says."""
    return Death(reason_of(report), any(sign in report for sign in WITH_MACHINE), _unfit(report))


def _unfit(report: str) -> tuple[str, str] | None:
    """Return the machine that a worker could not start on, and why, where that is the machine's fault."""
    if (found := re.search(rf"{UNFIT}(\w+): (.+)", report)) is not None:
        return found[1], found[2]
    where = re.search(r"creation task.*\bip=([\w.:]+)", report)
    missing = re.search(r"^ModuleNotFoundError: No module named '(\w+).*", report, re.MULTILINE)
    at_fault = where is not None and missing is not None and missing[1] in _own_modules()
    return (where[1], f"cannot run segsweep: {missing[0]}") if where and missing and at_fault else None


@cache
def _own_modules() -> frozenset[str]:
    """Return segsweep and the modules of the libraries that it requires: what a study brings beside them is its own matter."""
    required = {canonical_name(re.split(r"[^\w.-]", each)[0]) for each in requires("segsweep") or () if "extra ==" not in each}
    modules = packages_distributions().items()
    return frozenset({"segsweep"} | {name for name, of in modules if required & {canonical_name(each) for each in of}})


def canonical_name(distribution: str) -> str:
    """Return a distribution's name in the one spelling that packaging compares (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def reason_of(report: str) -> str:
    """Return the line that says why, of Ray's text about the death of a worker or an error in its creation.

    Ray 2.60's texts are known: a process that is gone, one that Ray killed for want of memory, one that was taken away,
    and a traceback, whose last line it is. Of any other text it is the first line.
    """
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    for line in lines:
        if MEMORY in line:
            return f"the machine ran out of memory: {line}"
        if DETAIL in line:
            detail = line.partition(DETAIL)[2].partition(CAUSES)[0]
            return f"its process was killed or crashed, perhaps for want of memory: {detail}"
        if line.startswith(BECAUSE):
            return line.partition(" because ")[2]
    if not lines:
        return "for no known reason"
    return lines[-1] if "::" in lines[0] else lines[0]


@contextmanager
def memory_kills_as_deaths() -> Iterator[None]:
    """Have Tune take a worker that Ray kills for want of memory for one that died; by itself, Tune 2.60 ends the whole run."""
    before = RayActorManager._actor_task_failed

    def failed(self: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception) -> None:  # Ray's own names
        dead = isinstance(exception, OutOfMemoryError)
        before(self, tracked_actor_task, RayActorError(error_msg=str(exception)) if dead else exception)

    RayActorManager._actor_task_failed = failed  # type: ignore[method-assign]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = before  # type: ignore[method-assign]
