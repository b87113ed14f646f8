"""The parts of the kit, most important first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from gpu.place import Place
from gpu.rows import Row

Check = Callable[[Place], Iterator[Row]]


@dataclass(frozen=True)
class Part:
    """Some checks that run in a process of their own.

    `module` holds them as `CHECKS`; `seconds` limits their time. A part that measures time, or takes the whole card, runs
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
    Part("study", "gpu.right.study", 150),
    Part("agreement", "gpu.right.agreement", 120),
    Part("memory", "gpu.right.memory", 90),
    Part("trials", "gpu.right.trials", 120),
    Part("bf16", "gpu.right.bf16", 120),
    Part("states", "gpu.right.states", 90),
    Part("determinism", "gpu.right.determinism", 90),
    Part("contrastive", "gpu.right.contrastive", 90),
    Part("group", "gpu.right.group", 90),
    Part("suite", "gpu.right.suite", 90),
    Part("reservation", "gpu.right.reservation", 60, alone=True),
    Part("rates", "gpu.fast.rates", 190, alone=True),
    Part("profile", "gpu.fast.profile", 100, alone=True),
    Part("packed", "gpu.fast.packed", 70, alone=True),
    Part("compiled", "gpu.fast.compiled", 120, alone=True),
)
