"""The sentence on what the intervals of an answer cover, and what they leave out."""

from segsweep.report.answer.answer import Answer
from segsweep.report.answer.words import between, count, folds_covered, joined, unit_text


def limits_sentence(answer: Answer) -> str:
    """Return the sentence on what the intervals cover and what they leave out."""
    limits = answer.limits
    over = _covered(answer)
    left_out = []
    if not answer.covers_seeds:
        left_out.append(f"other {unit_text(answer)}s")
    if limits.models_per_source == 1:
        left_out.append("the choice of the one trained model per source")
    folds = folds_covered(answer)
    left_out.append("what the folds share by their common training images" if folds else "the choice of the split")
    if limits.tuned and not folds:
        left_out.append("the one tuning seed")
    notes = []
    if limits.at_edge:
        notes.append(f"{count(limits.at_edge, 'cell')} chose a value at the edge of the tried ones")
    if limits.failed:
        notes.append(f"{count(limits.failed, 'confirmed run')} failed or {'was' if limits.failed == 1 else 'were'} skipped")
    missing = [cell for cell in answer.cells if len(cell.units) < answer.units_planned]
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        notes.append(f"{count(len(missing), 'cell')} {verb} fewer than {answer.units_planned} finished {unit_text(answer)}s")
    if not answer.covers_images:
        left_out.insert(0, "other test images")
    elif limits.few_images:
        notes.append("with so few test images the intervals are rough")
    if len(answer.scores.folds) < limits.folds:
        complete = len(answer.scores.folds)
        notes.append(f"only {complete} of {limits.folds} folds {'has' if complete == 1 else 'have'} runs of all cells")
    if answer.looks:
        notes.append(
            f"each has {100 * answer.scores.level:.3g} % at this look, so that all looks, up to {answer.looks[-1]} "
            f"{unit_text(answer)}s, hold at 95 % together"
        )
    elif answer.looked:
        seeds = " and ".join(map(str, answer.looked))
        notes.append(f"seeds were added after an answer with {seeds}, for which the intervals make no allowance")
    opening = "" if answer.covers_seeds else f"One {unit_text(answer)}: "
    text = f"{opening}{'the' if opening else 'The'} 95 % intervals cover {over}; they leave out {joined(left_out, len(left_out))}"
    return f"{text}; {'; '.join(notes)}." if notes else f"{text}."


def _covered(answer: Answer) -> str:
    """Return what the intervals cover."""
    if folds := folds_covered(answer):
        return f"the spread over {folds} folds: training images, seeds and test images"
    if not answer.covers_seeds:
        return "other test images with the same trained models" if answer.covers_images else "nothing: there is one test image"
    each = "source" if answer.models else "cell"
    units = f"the choice of {unit_text(answer)}s ({between([len(cell.units) for cell in answer.confirmed])} per {each})"
    return f"{units} and of test images" if answer.covers_images else f"{units} on the one test image"


def chance_text(answer: Answer) -> str:
    """Return the chance that the intervals of single cells cover, for a legend: `seeds and test images`."""
    units = f"{unit_text(answer)}s"
    if folds_covered(answer):
        return "folds"
    if answer.covers_images:
        return f"{units} and test images" if answer.covers_seeds else f"test images, not {units}"
    return f"{units}, not test images" if answer.covers_seeds else f"neither {units} nor test images"
