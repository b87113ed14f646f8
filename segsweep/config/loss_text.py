"""Losses as texts: a name, or a weighted sum such as `0.5*cross_entropy+dice`."""

import math
import re
from dataclasses import dataclass

from segsweep.config.user_text import USER_TEXT

LOSS_NAMES = (
    "cross_entropy",
    "cross_entropy_foreground",
    "weighted_cross_entropy",
    "bce",
    "dice",
    "focal",
    "jaccard",
    "lovasz",
)


@dataclass(frozen=True)
class LossTerm:
    """One term of a sum: a name and its positive weight."""

    name: str
    weight: float = 1.0


def parse_loss(text: str) -> tuple[LossTerm, ...]:
    """Return the terms of a loss text. Raises `ValueError`, which lists the allowed names, if the text is not a loss."""
    terms = []
    for part in text.split("+"):
        weight, star, name = part.strip().rpartition("*")
        name = name.strip()
        if (name not in LOSS_NAMES and not USER_TEXT.fullmatch(name)) or (star and not _positive(weight)):
            names = ", ".join(f"'{known}'" for known in LOSS_NAMES)
            raise ValueError(f"{part!r} is not a loss; allowed are {names}, WEIGHT*NAME, and sums of them as cross_entropy+dice")
        terms.append(LossTerm(name, float(weight) if star else 1.0))
    if len({term.name for term in terms}) < len(terms):
        raise ValueError("names a loss twice; name each loss once, with one weight")
    return tuple(terms)


def user_losses(text: str) -> list[str]:
    """Return the texts `own:NAME` of the user-defined losses among the terms."""
    return [found.group() for found in USER_TEXT.finditer(text)]


def _positive(text: str) -> bool:
    return re.fullmatch(r"\s*[0-9]*\.?[0-9]+(e-?[0-9]+)?\s*", text) is not None and 0 < float(text) < math.inf


def canonical_loss(text: str) -> str:
    """Return the canonical text of a loss: terms in the given order, without weights of 1."""
    return "+".join(term.name if term.weight == 1 else f"{_shortest(term.weight)}*{term.name}" for term in parse_loss(text))


def _shortest(weight: float) -> str:
    """Return the shortest text that parses to the same number."""
    return repr(weight).removesuffix(".0").replace("e+", "e")
