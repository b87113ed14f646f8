"""Draw the figure of the front page from a study of sources and fractions: test IoU, and the gain over random weights.

    python sweeps/transfer_grid.py --demo --name generated_pets --runner inline --threads 1 \
        --set source=random,supervised:generated_near@240,supervised:generated_far@240 --set fraction=0.05,0.2,1.0 \
        --set freeze=none --set steps=150 --set validations=5 --set source_steps=300 --set seeds=5
    python analysis/figures/front_page.py runs/generated_pets analysis/figures/front_page.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from segsweep.records import Records, load
from segsweep.report.cells import confirmed_runs
from segsweep.report.figures import draw_differences, draw_lines, looks
from segsweep.report.paired import paired_differences, reference_cells

NAMES = {
    "random": "random weights",
    "supervised:generated_near@240": "near source",
    "supervised:generated_far@240": "far source",
}


def draw(records: Records, path: Path) -> None:
    """Write the figure of a study whose cells differ in source and fraction."""
    runs = confirmed_runs(records)
    runs = runs.assign(name=runs["source"].map(NAMES), images=runs["train_images"].astype(float))
    images = runs.drop_duplicates("cell").set_index("cell")
    gains = paired_differences(records, reference_cells(records, {"source": "random"}))
    gains = gains.assign(
        label=[f"{images['name'][cell]}, {images['train_images'][cell]} images" for cell in gains["cell"]],
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    draw_lines(left, runs, "images", "test_iou", "name", looks(runs["name"]))
    left.set(title="Test IoU; a point is one seed", xlabel="training images", ylabel="IoU on the test split")
    left.legend(loc="lower right")
    draw_differences(right, gains, "label")
    right.set(title="Gain over random weights", xlabel="difference in IoU per image (95 % interval)")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    study, target = sys.argv[1:]
    draw(load(study), Path(target))
