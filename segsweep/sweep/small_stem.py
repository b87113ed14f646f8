"""The ResNet stem for small images in self-supervised stages, and its effect on trials."""

from collections.abc import Sequence

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import Study
from segsweep.models.encoder_name import encoder_name, resnet_stem

LARGEST_PX = 64  # largest image side for the small stem; the usual stem and encoder reduce such an image to 2x2 positions


def has_small_stem(settings: Settings, stage: Stage, *, first: bool) -> bool:
    """Return whether a stage of a cell's source uses the stem for small images.

    A self-supervised stage uses it if `ssl_stem` is `auto` and it trains a ResNet on images of at most `LARGEST_PX`. It must also
    be the `first` stage of its source, which begins from random weights.
    """
    small = settings.ssl_stem == "auto" and settings.source_px <= LARGEST_PX
    return small and first and stage.self_supervised and bool(resnet_stem(encoder_name(settings.architecture)))


def stem_left_out(settings: Settings) -> Sequence[str]:
    """Return the name prefixes of the encoder weights that the source of a cell lacks; () if it has all."""
    stages = settings.chain.stages
    if len(stages) == 1 and has_small_stem(settings, stages[0], first=True):
        return resnet_stem(encoder_name(settings.architecture))
    return ()


def stem_remarks(study: Study) -> list[str]:
    """Return a line for every source whose encoder is transferred without its stem."""
    lines = []
    for _, cell in study.cells():
        if stem_left_out(cell):
            lines.append(
                f"source {cell.source} trains {encoder_name(cell.architecture)} at {cell.source_px} px with the stem for small "
                "images, which is not transferred: trials begin with a random stem and train it, also with freeze=encoder; "
                "ssl_stem=usual trains the usual stem"
            )
    return list(dict.fromkeys(lines))
