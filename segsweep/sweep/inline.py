"""The inline runner: everything in this process, one thing after the other. For debugging, small jobs, machines without Ray."""

from collections.abc import Iterator

from segsweep.stage import build_stage
from segsweep.sweep.driver import Driver, Message
from segsweep.sweep.planner import StageWork, Work
from segsweep.trial import run_trial
from segsweep.workplace import Workplace


def run_inline(driver: Driver, place: Workplace) -> None:
    """Do all the work that the driver has. Ctrl-C is recorded and raised on."""
    while (work := driver.next_work()) is not None:
        try:
            for message in perform(work, place):
                if not driver.take(work, message):
                    break
        except KeyboardInterrupt:
            driver.interrupt(work)
            raise
        except Exception as error:
            driver.fail(work, error)


def perform(work: Work, place: Workplace) -> Iterator[Message]:
    """Return the messages of a stage or a trial as it is done."""
    if isinstance(work, StageWork):
        return build_stage(work.spec, work.parent_key, place)
    return run_trial(work.trial, work.source_key, place)
