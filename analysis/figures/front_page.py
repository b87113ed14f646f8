"""Draw the figure of the front page from the demo of the main job: the score of every cell, and the gain over random weights.

python sweeps/transfer_grid.py --demo
python analysis/figures/front_page.py runs/transfer_grid_demo analysis/figures/front_page.png
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from segsweep.records import Records, load
from segsweep.report.answer.answer import answer_of
from segsweep.report.figures import draw_differences, draw_scores, title


def draw(records: Records, path: Path) -> None:
    """Write the figure of a study that compares sources."""
    answer, axis = answer_of(records), "source"
    (question,) = (each for each in answer.questions if each.axis == axis)
    strata = [stratum for dependence in question.dependences for stratum in dependence.strata]
    shown = [question, *strata]
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    axes = figure.subplot_mosaic([["scores", str(row)] for row in range(len(shown))])
    draw_scores(axes["scores"], answer)
    axes["scores"].set_title("Test IoU, points (filled: may be the best)", fontsize="medium", loc="left")
    for row, each in enumerate(shown):
        ax = axes[str(row)]
        if row:
            ax.sharex(axes["0"])
        draw_differences(ax, each, answer.level_labels[axis], answer.matters)
        ax.set_title(title(answer, each), fontsize="medium", loc="left")
    axes[str(len(shown) - 1)].set_xlabel("difference in test IoU, points (light bar: 95 % for all rows of a panel together)")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    study, target = sys.argv[1:]
    draw(load(study), Path(target))
