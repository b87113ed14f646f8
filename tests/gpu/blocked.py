"""A finder that blocks imports: the kit must run without these packages, as on machines that lack them."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

BLOCKED = ("ray", "wandb", "optuna", "duckdb", "tensorboardX", "matplotlib")


class _Blocker(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{fullname} is blocked: the GPU kit must run without it", name=fullname)
        return None


def block_imports() -> None:
    """Make every later import of a blocked package in this process raise `ModuleNotFoundError`."""
    sys.meta_path.insert(0, _Blocker())
