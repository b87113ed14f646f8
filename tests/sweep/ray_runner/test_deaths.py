"""The reasons of workers' deaths, from texts of Ray 2.60."""

from types import SimpleNamespace

import pytest
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

from segsweep.sweep.ray_runner.deaths import Death, death_of, memory_kills_as_deaths, reason_of

KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: A
\tpid: 14350
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR \
Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common \
causes include: (1) the process was killed by the OOM killer"""
MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the node was 1.65GB used / 23.54GB limit
OOM kill reason: Memory usage 1771986944B exceeded threshold of 1263825536B (5.0% of 25276510208B limit)"""
CREATION = """The actor died because of an error raised in its creation task, ray::B.__init__() (pid=14420, ip=192.0.2.2)
  File "k.py", line 17, in __init__
ModuleNotFoundError: No module named 'segsweep'"""
RESET = """ray::segsweep-0123.reset() (pid=14391)
RuntimeError: the process is replaced after an error on its GPU"""
TAKEN = """The actor died unexpectedly before finishing this task.
The actor is dead because its node has died."""

PREEMPTED = """The actor died unexpectedly before finishing this task.
\tip: 192.0.2.2
The actor died because its node has died. Node Id: 07cd, the actor's node was terminated expectedly: received SIGTERM."""


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (KILLED, "its process was killed or crashed, possibly for lack of memory: Worker unexpectedly exits with a connection"),
        (
            MEMORY,
            "the machine ran out of memory: 1 worker(s) were killed due to the node running low on memory. Memory on the node",
        ),
        (CREATION, "ModuleNotFoundError: No module named 'segsweep'"),
        (RESET, "RuntimeError: the process is replaced after an error on its GPU"),
        (TAKEN, "its node has died."),
        (PREEMPTED, "its node has died. Node Id: 07cd"),
        ("something else\nand more", "something else"),
        ("", "the reason is unknown"),
    ],
)
def test_the_reason_is_one_line(report: str, expected: str) -> None:
    """The line with the reason is found in each of Ray's texts."""
    reason = reason_of(report)
    assert reason.startswith(expected)
    assert "\n" not in reason


UNFIT = """The actor died because of an error raised in its creation task, ray::B.__init__() (pid=14420, ip=192.0.2.2)
segsweep.sweep.ray_runner.machines.UnfitMachineError: unfit machine 0a1b: does not see the store /x; put --store on a disk"""


@pytest.mark.parametrize(
    ("report", "with_machine", "unfit"),
    [
        (KILLED, False, None),
        (MEMORY, False, None),
        (TAKEN, True, None),
        (PREEMPTED, True, None),
        (CREATION, False, ("192.0.2.2", "cannot run segsweep: ModuleNotFoundError: No module named 'segsweep'")),
        (UNFIT, False, ("0a1b", "does not see the store /x; put --store on a disk")),
        (CREATION.replace("ModuleNotFoundError", "ValueError"), False, None),
        (
            CREATION.replace("'segsweep'", "'timm.models'"),
            False,
            ("192.0.2.2", "cannot run segsweep: ModuleNotFoundError: No module named 'timm.models'"),
        ),
        (CREATION.replace("'segsweep'", "'mymodel'"), False, None),  # a module of the study is not the machine's fault
        ("ModuleNotFoundError: No module named 'mine'", False, None),  # in the middle of a task: the study's own code
    ],
)
def test_a_faulty_machine_is_distinguished_from_a_faulty_task(
    report: str, with_machine: bool, unfit: tuple[str, str] | None
) -> None:
    """A death with the machine, and a machine that cannot start workers, are recognised, with the machine's id or address."""
    assert death_of(report) == Death(reason_of(report), with_machine, unfit)


def test_a_worker_killed_for_lack_of_memory_counts_as_dead():
    """A worker that Ray kills in the middle of a step for lack of memory is reported as dead to Tune's scheduler; Tune
    continues."""
    errors = []

    def heard(_: object, error: Exception) -> None:
        errors.append(error)

    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda **_: None)
    task = SimpleNamespace(_tracked_actor=SimpleNamespace(actor_id=1, _on_error=heard), _on_error=heard)
    killed = {"tracked_actor_task": task, "exception": OutOfMemoryError("killed, the node running low on memory")}
    with memory_kills_as_deaths():
        RayActorManager._actor_task_failed(manager, **killed)
    assert [type(error) for error in errors] == [RayActorError, RayActorError]
    assert "ran out of memory" in reason_of(str(errors[0]))
    with pytest.raises(RuntimeError, match="unexpected"):  # Ray alone
        RayActorManager._actor_task_failed(manager, **killed)
