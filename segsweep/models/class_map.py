"""Which classes of a source stand for each class of the target: for the weights of a last classifier, and for its logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segsweep.config.class_name import is_background, plain_name
from segsweep.errors import UserError


@dataclass(frozen=True)
class ClassMap:
    """For each target class the numbers of the source classes that stand for it; none where it starts fresh."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def fresh(self) -> tuple[str, ...]:
        """The target classes that no source class stands for."""
        return tuple(name for name, rows in zip(self.target, self.rows, strict=True) if not rows)

    @property
    def one_to_one(self) -> bool:
        """Whether both sides have the same classes in the same order, and each stands for itself alone."""
        return len(self.source) == len(self.target) and self.rows == tuple((number,) for number in range(len(self.target)))

    def apply(self, target: Tensor, source: Tensor) -> Tensor:
        """Return the target's rows from its own (target classes, ...) and the means of the source's (source classes, ...)."""
        return torch.stack([source[list(rows)].mean(0) if rows else target[n] for n, rows in enumerate(self.rows)])

    def rest_as_background(self) -> "ClassMap":
        """Return the same with every source class that stands for none standing for the background, where there is one."""
        rest = tuple(set(range(len(self.source))).difference(*self.rows))
        ground = [is_background(name) for name in self.target]
        return replace(
            self, rows=tuple(tuple(sorted(r + rest)) if here else r for r, here in zip(self.rows, ground, strict=True))
        )

    def logits(self, source_BSHW: Tensor) -> Tensor:
        """Return the target's logits (B, target classes, H, W) from those of the source's classes.

        Each is the highest of the source classes that stand for it, and minus infinity where none does.
        """
        nowhere = torch.full_like(source_BSHW[:, 0], -torch.inf)
        return torch.stack([source_BSHW[:, list(rows)].amax(1) if rows else nowhere for rows in self.rows], dim=1)

    def __str__(self) -> str:
        width = max(map(len, self.target))
        return "\n".join(
            f"{name:{width}} <- {', '.join(self.source[row] for row in rows) or '(fresh)'}"
            for name, rows in zip(self.target, self.rows, strict=True)
        )


def map_classes(source: Sequence[str], target: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None) -> ClassMap:
    """Return how a target's classes are taken from a source's.

    A target class takes the source classes of the same name (upper and lower case, spaces, underscores and hyphens aside)
    and those that `synonyms` lists for it; synonyms that this source does not have may be another's. Raises `UserError`
    where no class beside the background is found on both sides.
    """
    wanted = {plain_name(name): {plain_name(name)} for name in target}
    for name, others in (synonyms or {}).items():
        if plain_name(name) not in wanted:
            raise UserError(f"class synonyms: {name!r} is no class of the target; its classes: {', '.join(target)}")
        wanted[plain_name(name)] |= set(map(plain_name, others))
    rows = tuple(tuple(n for n, other in enumerate(source) if plain_name(other) in wanted[plain_name(name)]) for name in target)
    if not any(found for name, found in zip(target, rows, strict=True) if not is_background(name)):
        raise UserError(
            f"no class of the target but the background is one of the source; target: {', '.join(target)}; "
            f"source: {', '.join(source)}; give synonyms (Target class_map), or take transfer=all-but-classifier"
        )
    return ClassMap(tuple(source), tuple(target), rows)
