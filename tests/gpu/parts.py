"""The parts of the kit: first those that run in parallel, the longest first, then those that run alone.

`rates` comes last: it uses the remaining time, and leaves out its last cases if no time remains.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from gpu.part_context import PartContext
from gpu.rows import Row

Check = Callable[[PartContext], Iterator[Row]]


@dataclass(frozen=True)
class Part:
    """Some checks that run in a separate process.

    `module` holds them as `CHECKS`; `seconds` limits their time. A part that measures time, or needs the whole card, runs
    `alone`.
    """

    name: str
    module: str
    seconds: int
    alone: bool = False

    def checks(self) -> tuple[Check, ...]:
        """Return the checks; imports the module."""
        checks: tuple[Check, ...] = import_module(self.module).CHECKS
        return checks


PARTS = (
    Part("study", "gpu.right.study", 240),
    Part("trials", "gpu.right.trials", 160),
    Part("bf16", "gpu.right.bf16", 160),
    Part("agreement", "gpu.right.agreement", 130),
    Part("determinism", "gpu.right.determinism", 120),
    Part("group", "gpu.right.group", 120),
    Part("memory", "gpu.right.memory", 100),
    Part("states", "gpu.right.states", 90),
    Part("contrastive", "gpu.right.contrastive", 80),
    Part("suite", "gpu.right.suite", 60),
    Part("reservation", "gpu.right.reservation", 40, alone=True),
    Part("profile", "gpu.fast.profile", 90, alone=True),
    Part("packed", "gpu.fast.packed", 80, alone=True),
    Part("compiled", "gpu.fast.compiled", 90, alone=True),
    Part("rates", "gpu.fast.rates", 240, alone=True),
)
