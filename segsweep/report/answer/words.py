"""The words and numbers of sentences: scores and differences in points, counted nouns, lists."""

from collections.abc import Sequence
from math import isnan

from segsweep.report.answer.answer import Answer, CellAnswer
from segsweep.report.answer.questions import Difference

MEASURES = {
    "iou": "IoU",
    "f1": "F1",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "mean_accuracy": "mean accuracy",
    "mean_iou": "mean IoU",
    "weighted_iou": "weighted IoU",
    "dice": "Dice",
    "boundary_f": "boundary F",
}
NAMED = 3  # names in a list, before "and n more"
FINE = 0.003  # half-width below which points have two decimals


def score_text(cell: CellAnswer) -> str:
    """Return a score with its interval in points, if it has one: `49.9 [45.1, 54.7]`."""
    low, high = cell.interval
    fine = cell.half < FINE
    if not cell.has_interval:
        return f"{points(cell.estimate)} (without an interval)"
    return f"{points(cell.estimate, fine=fine)} [{points(low, fine=fine)}, {points(high, fine=fine)}]"


def difference_text(difference: Difference) -> str:
    """Return the size of a gain or loss with the simultaneous interval of its size: `3.1 points [1.2, 5.0]`.

    It has two decimals where one would show a gain's lower end as zero.
    """
    size = abs(difference.estimate)
    low, high = size - difference.half_together, size + difference.half_together
    fine = difference.half_together < FINE or low < 0.0005
    return f"{points(size, fine=fine)} points [{points(low, fine=fine)}, {points(high, fine=fine)}]"


def signed_text(difference: Difference) -> str:
    """Return a signed difference with its own interval, if it has one: `+3.1 points [-1.2, +7.4]`."""
    low, high = difference.estimate - difference.half, difference.estimate + difference.half
    if isnan(difference.half):
        return f"{points(difference.estimate, True)} points"
    return f"{points(difference.estimate, True)} points [{points(low, True)}, {points(high, True)}]"


def points(value: float, sign: bool = False, *, fine: bool = False) -> str:
    """Return a share as points of the measure (x 100) with one decimal, with `fine` two, and a minus sign."""
    text = f"{100 * value:{'+' if sign else ''}.{2 if fine else 1}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def matters_text(answer: Answer) -> str:
    """Return the least difference that matters: `1 point`."""
    return f"{100 * answer.matters:g} {'point' if answer.matters == 0.01 else 'points'}"


def measure_text(answer: Answer) -> str:
    """Return the measure in words."""
    return MEASURES.get(answer.measure, f"IoU of {answer.measure.removeprefix('iou_')}")


def units_text(answer: Answer, cell: CellAnswer | None = None) -> str:
    """Return the number of seeds or source models of a cell, or of all cells with scores: `3 seeds`, `1 to 3 seeds`."""
    numbers = [len(each.units) for each in ([cell] if cell else answer.confirmed)]
    text = f"{between(numbers)} {unit_text(answer)}{'' if max(numbers) == 1 else 's'}"
    return text + (f" on each of {folds} folds" if (folds := folds_covered(answer)) else "")


def between(numbers: Sequence[int]) -> str:
    """Return the number that all are, or the least and the largest: `1 to 3`."""
    least, most = min(numbers), max(numbers)
    return f"{most:,}" if least == most else f"{least} to {most:,}"


def folds_covered(answer: Answer) -> int:
    """Return the number of folds over which the intervals are; 0 for a single split, and a single complete fold."""
    folds = len(answer.scores.folds)
    return folds if folds > 1 else 0


def unit_text(answer: Answer) -> str:
    """Return what one unit of the intervals is."""
    return "source model" if answer.models else "seed"


def count(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return names separated by semicolons, the first three and the number of the others."""
    rest = len(names) - NAMED
    return "; ".join([*names[:NAMED], *([f"and {rest} more"] if rest > 0 else [])])


def joined(texts: Sequence[str], total: int, verb: str = "") -> str:
    """Return texts joined by commas and `and`; `total` counts also those that are not named, with a `verb` in singular."""
    if rest := total - len(texts):
        return f"{', '.join(texts)} and {rest} more {verb if rest == 1 else verb.removesuffix('s')}".rstrip()
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def capital(text: str) -> str:
    """Return a text with a capital first letter, unless its first word is a name with digits or underscores."""
    word = text.partition(" ")[0].rstrip(",")
    return text[0].upper() + text[1:] if word.isalpha() else text
