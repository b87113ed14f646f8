"""The mapping from a source's classes to a target's, for the weights of the last classifier and for its logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segsweep.config.class_name import is_background, plain_name
from segsweep.errors import UserError


@dataclass(frozen=True)
class ClassMap:
    """For each target class, the numbers of the source classes that correspond to it; none if the class starts fresh.

    `source` and `target` are the names of S source and T target classes; `rows` has one tuple of source numbers per target class.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def fresh(self) -> tuple[str, ...]:
        """The target classes to which no source class corresponds."""
        return tuple(name for name, rows in zip(self.target, self.rows, strict=True) if not rows)

    @property
    def one_to_one(self) -> bool:
        """Whether both sides have the same classes in the same order, and each corresponds only to itself."""
        return len(self.source) == len(self.target) and self.rows == tuple((number,) for number in range(len(self.target)))

    def apply(self, target: Tensor, source: Tensor) -> Tensor:
        """Return the rows of the target's classifier, (T, ...): means of source rows, and the target's initial rows if fresh.

        `target` (T, ...) are the initial rows, `source` (S, ...) those of the source's classifier, of one dtype.
        """
        return torch.stack([source[list(rows)].mean(0) if rows else target[n] for n, rows in enumerate(self.rows)])

    def rest_as_background(self) -> "ClassMap":
        """Return a copy in which every source class without a target class maps to the background, if the target has one."""
        rest = tuple(set(range(len(self.source))).difference(*self.rows))
        backgrounds = [is_background(name) for name in self.target]
        return replace(
            self, rows=tuple(tuple(sorted(r + rest)) if here else r for r, here in zip(self.rows, backgrounds, strict=True))
        )

    def logits(self, source_BSHW: Tensor) -> Tensor:
        """Return the logits (B, T, H, W) of the target's classes from logits (B, S, H, W) of the source's classes.

        Each is the highest logit among the corresponding source classes, and minus infinity for a fresh class.
        """
        impossible = torch.full_like(source_BSHW[:, 0], -torch.inf)
        return torch.stack([source_BSHW[:, list(rows)].amax(1) if rows else impossible for rows in self.rows], dim=1)

    def __str__(self) -> str:
        width = max(map(len, self.target))
        return "\n".join(
            f"{name:{width}} <- {', '.join(self.source[row] for row in rows) or '(random weights)'}"
            for name, rows in zip(self.target, self.rows, strict=True)
        )


def map_classes(source: Sequence[str], target: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None) -> ClassMap:
    """Return the map from a source's classes to a target's.

    A target class corresponds to the source classes of the same name, regardless of case, spaces, underscores and hyphens, and to
    those that `synonyms` lists for it. Synonyms that this source lacks are allowed, since another source may have them. Raises
    `UserError` if a synonym is for an unknown target class, and if both sides share no class except the background.
    """
    wanted = {plain_name(name): {plain_name(name)} for name in target}
    for name, others in (synonyms or {}).items():
        if plain_name(name) not in wanted:
            raise UserError(f"Target class_map: {name!r} is not a class of the target; its classes: {', '.join(target)}")
        wanted[plain_name(name)] |= set(map(plain_name, others))
    rows = tuple(tuple(n for n, other in enumerate(source) if plain_name(other) in wanted[plain_name(name)]) for name in target)
    if not any(found for name, found in zip(target, rows, strict=True) if not is_background(name)):
        raise UserError(
            f"source and target share no class except the background; target: {', '.join(target)}; "
            f"source: {', '.join(source)}; give synonyms (Target class_map), or use transfer=all-but-classifier"
        )
    return ClassMap(tuple(source), tuple(target), rows)
