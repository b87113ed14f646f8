"""A remark before a run: images of the target and of a supervised source become square in different ways."""

from collections import defaultdict

from segsweep.config.study import PREVENT, Study
from segsweep.sweep.catalog import Catalog


def fit_remarks(study: Study, catalog: Catalog) -> list[str]:
    """Return a line per pair of ways: which sources, which ways, and the settings that make them alike.

    A model that learned from cropped images meets other shapes and scales in squeezed ones, beside the other domain.
    Self-supervised stages are passed over, since their views are crops of any shape; so are datasets that are absent, and
    studies that repeat a published run (`leakage='report'`), which keep what it did.
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
        f"images become square by {target_fit} in the target, by {source_fit} in {', '.join(stages)}: shapes and scales differ, "
        f"not the domain alone; source_fit={target_fit} or fit={source_fit} makes them alike"
        for (target_fit, source_fit), stages in sources.items()
    ]
