"""Where a self-supervised stage trains a ResNet with the stem for small images, and what that means for trials."""

from collections.abc import Sequence

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import Study
from segsweep.models.encoder_name import encoder_name, resnet_stem

LARGEST_PX = 64  # of the images that a stage sees; the usual stem and the levels behind it leave 2x2 places of such an image


def has_small_stem(settings: Settings, stage: Stage, *, first: bool) -> bool:
    """Return whether a stage of a cell's source has the stem for small images.

    So has a self-supervised stage that is the `first` of its source, thus begins from random weights, trains a ResNet on images
    of at most 64 px, and is not denied it by `ssl_stem=usual`.
    """
    small = settings.ssl_stem == "auto" and settings.source_px <= LARGEST_PX
    return small and first and stage.self_supervised and bool(resnet_stem(encoder_name(settings.architecture)))


def stem_left_out(settings: Settings) -> Sequence[str]:
    """Return how the names of the encoder's weights begin that the source of a cell does not have; () where it has all."""
    stages = settings.chain.stages
    if len(stages) == 1 and has_small_stem(settings, stages[0], first=True):
        return resnet_stem(encoder_name(settings.architecture))
    return ()


def stem_remarks(study: Study) -> list[str]:
    """Return a line for every source whose encoder comes without its stem."""
    lines = []
    for _, cell in study.cells():
        if stem_left_out(cell):
            lines.append(
                f"source {cell.source} trains {encoder_name(cell.architecture)} at {cell.source_px} px with the stem for small "
                "images, which is not transferred: trials begin with a random stem, and train it under freeze=encoder too; "
                "ssl_stem=usual trains the usual one"
            )
    return list(dict.fromkeys(lines))
