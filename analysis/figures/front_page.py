"""Draw the figure of the front page from a study of sources and fractions: test IoU, and the gain over random weights.

    python sweeps/transfer_grid.py --demo --name generated_pets --runner inline --threads 1 \
        --set source=random,supervised:generated_near@240,supervised:generated_far@240 --set fraction=0.05,0.2,1.0 \
        --set freeze=none --set steps=150 --set validations=5 --set source_steps=300 --set seeds=5
    python analysis/figures/front_page.py runs/generated_pets analysis/figures/front_page.png
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from segsweep.records import Records, load
from segsweep.report.answer.answer import answer_of
from segsweep.report.figures import draw_by_images, draw_differences, legend_below, looks, scores_by_images, title


def draw(records: Records, path: Path) -> None:
    """Write the figure of a study whose cells differ in source and fraction."""
    answer, by_source = answer_of(records), "source"
    (question,) = (each for each in answer.questions if each.axis == by_source)
    (by_fraction,) = (each.strata for each in question.dependences if each.axis == "fraction")
    shown = [question, *by_fraction]
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    axes = figure.subplot_mosaic([["scores", str(row)] for row in range(len(shown))])
    scores, left = scores_by_images(records, answer), axes.pop("scores")
    styles = looks(scores["line"])
    draw_by_images(left, scores, styles)
    left.set(title="Test IoU, points (bars: 95 % intervals)", xlabel="target images for training")
    left.grid(alpha=0.3)
    for ax, each in zip(axes.values(), shown, strict=True):
        ax.sharex(axes["0"])
        draw_differences(ax, each, answer.level_labels[by_source], answer.matters)
        ax.set_title(title(answer, each), fontsize="medium", loc="left")
    axes[str(len(shown) - 1)].set_xlabel("difference in test IoU, points (light bar: 95 % for both rows together)")
    legend_below(figure, styles)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    study, target = sys.argv[1:]
    draw(load(study), Path(target))
