"""The lines below a table on the terms on which fractions and sources are compared."""

from dataclasses import replace

import pandas as pd
import pytest

from segsweep.records import Records
from segsweep.report.comparison import comparison_lines, rate_lines


@pytest.fixture
def two_sources(records: Records) -> Records:
    """The tiny study as if half of the cells with a source had started from another, larger source with the same number of
    steps."""
    stage = records.stages.iloc[0]
    other = stage.to_frame().T.assign(stage_id="other", stage="supervised:coco", train_images=80, steps=20)
    stages = pd.concat([records.stages, other.astype(records.stages.dtypes.to_dict())], ignore_index=True)
    trained = records.trials["stage_id"].notna() & (records.trials["freeze"] == "none")
    trials = records.trials.assign(stage_id=records.trials["stage_id"].mask(trained, "other"))
    return replace(records, stages=stages, trials=trials)


def test_unequal_sources_are_reported(two_sources: Records) -> None:
    """Sources that differ in images and in steps are compared on unequal terms, with numbers."""
    (line,) = comparison_lines(two_sources)
    images, steps = two_sources.stages["train_images"], two_sources.stages["steps"]
    assert images.nunique() == steps.nunique() == 2
    assert line == (
        f"Trained sources are compared at unequal size ({images.min()} to {images.max()} images) and unequal steps "
        f"({steps.min()} to {steps.max()})."
    )


def test_equal_sources_are_reported(two_sources: Records) -> None:
    """Sources of the same size, trained for the same number of steps, are compared on equal terms."""
    same = replace(two_sources, stages=two_sources.stages.assign(train_images=1400, steps=2000))
    assert comparison_lines(same) == ["Trained sources are compared at equal size (1,400 images) and equal steps (2,000)."]


def test_one_source_is_compared_with_no_other(records: Records) -> None:
    """A study with one trained source has no line on sizes; its rate, which was not tuned, is named."""
    assert comparison_lines(records) == []
    assert rate_lines(records) == [
        "Supervised sources are trained at a learning rate that is not tuned (0.001); source_trials=3 tries three."
    ]


def of_fractions(records: Records, **columns: object) -> Records:
    """Return the study as if it had compared two fractions, with other values in some columns."""
    fractions = [0.2, 1.0] * (len(records.trials) // 2)
    study = {**records.study, "compare": [{"fraction": [0.2, 1.0]}]}
    return replace(records, study=study, trials=records.trials.assign(fraction=fractions, **columns))


def test_fractions_at_equal_steps_and_at_equal_epochs(records: Records) -> None:
    """The table states whether less data also means fewer steps."""
    equal = of_fractions(records, steps=1380, epochs=pd.NA)
    assert comparison_lines(equal) == ["Fractions are compared at equal steps: 1,380 for every number of training images."]
    epochs = records.epochs.assign(steps=[6, 30] * (len(records.epochs) // 2) + [6] * (len(records.epochs) % 2))
    (line,) = comparison_lines(replace(of_fractions(records), epochs=epochs))
    assert line.startswith("Fractions are compared at equal epochs (2), which are ")
    assert line.endswith("optimiser steps: less data also means fewer steps.")
