"""Test images on the page: which are shown, and their pixels from the study's store."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_study import Drawn
from parsed_markup import parsed, texts, with_class
from PIL import Image
from recorded_study import recorded

from segsweep.records import Records
from segsweep.records.confirmed_models import models_of
from segsweep.report.answer.answer import answer_of
from segsweep.report.cells import median_runs
from segsweep.report.page.image_grid import image_grid
from segsweep.report.page.sections.images import images_section
from segsweep.report.page.sections.shift import before_after, shift_section
from segsweep.report.page.shown_images import chosen_images, kept_names, predictions_of, target_data
from segsweep.report.page.study_view import StudyView
from segsweep.store.contents import BEFORE, IMAGE, PREDICTED, TRUTH, example_file
from segsweep.store.opening import open_store

FIRST, LAST = "source=random", "source=supervised:near"
GRID = {"source": ["random", "supervised:near"]}


@pytest.fixture
def drawn() -> Records:
    return recorded(Drawn(GRID, images=21))


def test_images_stand_at_quantiles_and_at_the_largest_disagreement(drawn: Records) -> None:
    """Of 21 images, ranks 0, 2, 10 and 18 of the first run are shown, and that on which the two runs differ most."""
    names = [f"{number:03d}" for number in range(21)]
    chosen = chosen_images(drawn, f"{FIRST} 1", f"{LAST} 1", names)
    of_runs = [drawn.images[drawn.images["trial_id"] == run].set_index("image")["iou"] for run in (f"{FIRST} 1", f"{LAST} 1")]
    ranked = of_runs[0].sort_values(kind="stable").index
    assert [image.name for image in chosen[:4]] == [ranked[rank] for rank in (0, 2, 10, 18)]
    differences = (of_runs[0] - of_runs[1]).abs().drop([image.name for image in chosen[:4]])
    assert chosen[4].name == differences.idxmax()
    assert chosen[4].reason == "largest disagreement"


def test_only_images_with_predictions_count_and_none_twice(drawn: Records) -> None:
    """With two kept images there are two rows at most; without any there are none."""
    kept = ["003", "007"]
    assert {image.name for image in chosen_images(drawn, f"{FIRST} 1", f"{LAST} 1", kept)} == set(kept)
    assert chosen_images(drawn, f"{FIRST} 1", None, []) == []


def test_the_run_of_a_cell_is_the_median_one(drawn: Records) -> None:
    """Of three runs the middle one by test IoU is shown, not the best one."""
    runs = drawn.trials[(drawn.trials["cell"] == FIRST) & (drawn.trials["phase"] == "confirm")]
    shown = median_runs(drawn).set_index("cell")
    assert shown.loc[FIRST, "test_iou"] == runs["test_iou"].median()
    assert "source=none" not in shown.index


def test_a_real_study_shows_its_images_and_predictions(records: Records) -> None:
    """Every cell of the columns has a tile per image; scores and names are those of the records."""
    section = images_section(StudyView(records, answer_of(records)), records.study["store"])
    assert section is not None
    page = parsed(section.content)
    rows = page.findall(".//table[@class='images']/tbody/tr")
    columns = len(page.findall(".//table[@class='images']/thead//th")) - 3
    assert len(with_class(page, "tile")) == len(rows) * (2 + columns)
    assert all(texts(row[0]).endswith(tuple(set(records.images["image"]))) for row in rows)


def test_predictions_and_truth_have_the_counts_of_the_records(records: Records) -> None:
    """The pixels read for the page give the hits that the test counted: they are the right images in the right order."""
    run = median_runs(records).set_index("cell").loc[records.study["cells"][0]]
    counts = records.counts[records.counts["trial_id"] == run["trial_id"]]
    models, _ = models_of(records.trials[records.trials["trial_id"] == run["trial_id"]], records.study["store"])
    model = models[str(run["trial_id"])]
    names = list(kept_names(model))
    data = target_data(records, open_store(records.study["store"]), names)
    assert data is not None
    predictions = predictions_of(model, names)
    for image, name, hit in zip(counts["image"], counts["class"], counts["hit"], strict=True):
        number = data.classes.index(name)
        truth = data.masks[list(data.names).index(image)]
        assert int(((predictions[image] == number) & (truth == number)).sum()) == hit


def test_images_before_and_after_fine_tuning_come_from_the_examples(tmp_path: Path) -> None:
    """Each example of a model is a row with its two predictions, in the order of the examples."""
    for place in range(3):
        pixels = {IMAGE: np.full((8, 8, 3), place), TRUTH: np.ones((8, 8)), BEFORE: np.zeros((8, 8)), PREDICTED: np.ones((8, 8))}
        for what, values in pixels.items():
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / example_file(place, what))
    grid = before_after(tmp_path, ["background", "pet"])
    assert [int(row.image_HWC[0, 0, 0]) for row in grid.rows] == [0, 1, 2]
    before, after = grid.rows[0].predictions
    assert before is not None
    assert after is not None
    assert (before.mask_HW.max(), after.mask_HW.min()) == (0, 1)
    tiles = with_class(parsed(image_grid(grid)), "tile")
    assert tiles[2].get("aria-label") == "test image 1, before fine-tuning: background 100 %, 100.0 % of pixels wrong"


def test_a_study_of_the_shift_has_its_measures(records: Records) -> None:
    """With `domain_shift` the measures before stand beside those after; models without such examples show none."""
    trials = records.trials.assign(forgetting=0.1, before_mean_iou=0.2)
    store = records.study["store"]
    view = StudyView(replace(records, trials=trials), answer_of(records))
    section = shift_section(view, store)
    assert section is not None
    assert "20.0" in texts(parsed(section.content))
    assert not with_class(parsed(section.content), "tile")
    assert shift_section(StudyView(records, view.answer), store) is None


def test_other_versions_of_the_target_are_not_shown(records: Records) -> None:
    """If no prepared dataset has the recorded numbers of pixels, the section is left out; also without the store."""
    counts = records.counts.assign(true=records.counts["true"] + 1)
    view = StudyView(replace(records, counts=counts), answer_of(records))
    assert images_section(view, records.study["store"]) is None
    assert images_section(view, Path("nowhere")) is None
    assert np.isfinite(view.answer.cells[0].estimate)
