"""Remarks on `fit` before a run: images of the target and of a supervised source are made square in different ways."""

from collections import defaultdict

from segsweep.config.study import PREVENT, Study
from segsweep.sweep.catalog import Catalog


def fit_remarks(study: Study, catalog: Catalog) -> list[str]:
    """Return a line per pair of differing fits: the sources, the two fits, and the settings that make them equal.

    To a model that learned from cropped images, squeezed images differ in shape and scale, in addition to the domain.
    Self-supervised stages are skipped, since their views are crops of any shape. Absent datasets are skipped, and so are studies
    that repeat a published run (`leakage='report'`) and keep its fits.
    """
    if study.target.leakage != PREVENT:
        return []
    sources: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for _, cell in study.cells():
        target_fit = catalog.target_fit(study, cell)
        for stage in cell.chain.stages:
            source_fit = catalog.source_fit(stage, cell) if stage.supervised else target_fit
            if target_fit is not None and source_fit is not None and source_fit != target_fit:
                sources[target_fit, source_fit][str(stage)] = None
    return [
        f"images are made square by {target_fit} in the target and by {source_fit} in {', '.join(stages)}, so shapes and scales "
        f"differ in addition to the domain; source_fit={target_fit} or fit={source_fit} makes them equal"
        for (target_fit, source_fit), stages in sources.items()
    ]
