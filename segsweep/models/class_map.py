"""Which classes of a source each class of the target takes its last classifier's weights from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segsweep.errors import UserError

BACKGROUND = "background"


@dataclass(frozen=True)
class ClassMap:
    """For each target class the numbers of the source classes that it takes the mean of; none where it starts fresh."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def fresh(self) -> tuple[str, ...]:
        """The target classes that no source class stands for."""
        return tuple(name for name, rows in zip(self.target, self.rows, strict=True) if not rows)

    def apply(self, own: Tensor, source: Tensor) -> Tensor:
        """Return the target's rows from its own (target classes, ...) and the source's (source classes, ...)."""
        return torch.stack([source[list(rows)].mean(0) if rows else own[n] for n, rows in enumerate(self.rows)])

    def __str__(self) -> str:
        width = max(map(len, self.target))
        return "\n".join(
            f"{name:{width}} <- {', '.join(self.source[row] for row in rows) or '(fresh)'}"
            for name, rows in zip(self.target, self.rows, strict=True)
        )


def map_classes(source: Sequence[str], target: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None) -> ClassMap:
    """Return how a target's classes are taken from a source's.

    A target class takes the source classes of the same name (upper and lower case, spaces, underscores and hyphens aside)
    and those that `synonyms` lists for it. Raises `UserError` where a synonym names no class, and where no class beside the
    background is found on both sides.
    """
    wanted = {_plain(name): {_plain(name)} for name in target}
    for name, others in (synonyms or {}).items():
        if _plain(name) not in wanted:
            raise UserError(f"class synonyms: {name!r} is no class of the target; its classes: {', '.join(target)}")
        for other in others:
            if _plain(other) not in map(_plain, source):
                raise UserError(
                    f"class synonyms: {name} <- {other!r} is no class of the source; its classes: {', '.join(source)}"
                )
            wanted[_plain(name)].add(_plain(other))
    rows = tuple(tuple(n for n, other in enumerate(source) if _plain(other) in wanted[_plain(name)]) for name in target)
    if not any(found for name, found in zip(target, rows, strict=True) if _plain(name) != BACKGROUND):
        raise UserError(
            f"transfer=all: no class of the target stands for one of the source; target: {', '.join(target)}; "
            f"source: {', '.join(source)}; give synonyms, or take transfer=all-but-classifier"
        )
    return ClassMap(tuple(source), tuple(target), rows)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
