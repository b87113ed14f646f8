"""What is to be known of classes before anything is trained: how a source's stand for the target's."""

from segsweep.config.study import Study
from segsweep.sweep.catalog import Catalog, class_maps, source_classes, tuned_values


def class_remarks(study: Study, catalog: Catalog) -> list[str]:
    """Return how the classes of sources are mapped."""
    maps = class_maps(study, catalog)
    shifted = [cell.source for _, cell in study.cells() if "on" in tuned_values(study, "domain_shift", cell.domain_shift)]
    lines = []
    for source, mapped in maps.items():
        rest = "\nbefore fine-tuning, all other classes of the source stand for the background" if source in shifted else ""
        lines.append(f"classes of the target <- of {source}:\n{mapped}{rest}")
    for source in dict.fromkeys(shifted):
        if source not in maps and source_classes(source, catalog) is not None:
            lines.append(
                f"domain_shift=on: {source} has no class of the target but the background, so nothing is measured with it "
                "before fine-tuning; Target class_map can name synonyms"
            )
    return lines
