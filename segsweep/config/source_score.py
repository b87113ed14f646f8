"""The specification of a source's scores: which encoder is scored on which images of the target."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from segsweep.config.digest import digest
from segsweep.config.settings import Settings
from segsweep.config.study import Target
from segsweep.config.work import StageSpec

SCORE_VERSION = 1  # raise by hand after a change that makes scores incomparable with old ones

Subset = Literal["smallest", "largest"]  # of the subsets of training images on which the study trains
FixedWeights = Literal["imagenet", "random"]  # weights of the encoder that measures the distance of images


@dataclass(frozen=True)
class ScoreSpec:
    """Specification of the scores of one source model on one subset of a target's training images.

    Attributes:
        study: Name of the study.
        stage: Last stage of the source's chain; None for `random`.
        settings: Settings of a cell with this source, architecture and image size, and with the subset's share of images.
        target: Target with its protocol.
        target_data: Key of the target's prepared data.
        subset: Name of the subset.
        fixed_weights: Weights of the encoder for the distance of images.
        fingerprints: Fingerprints of the study's user objects, by their texts.
    """

    study: str
    stage: StageSpec | None
    settings: Settings
    target: Target
    target_data: str
    subset: Subset
    fixed_weights: FixedWeights
    fingerprints: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def source(self) -> str:
        """The source, as the study writes it."""
        return str(self.settings.source)

    @property
    def name(self) -> str:
        """The source, the architecture, the image size, the share of images and the source's seed, in words."""
        seed = f", source seed {self.stage.seed}" if self.stage is not None else ""
        share = f"{100 * self.settings.fraction:.3g} % of the training images"
        return f"{self.source} for {self.settings.architecture} at {self.settings.image_px} px on {share}{seed}"

    @cached_property
    def score_id(self) -> str:
        """Digest of the specification: equal for equal work, independent of the name of its study."""
        return self._digest({"stage": self.stage.spec_id if self.stage else None})

    def key(self, source_hash: str | None) -> str:
        """Return the key in the store, given the content hash of the source's weights (None for `random`)."""
        return self._digest({"source": source_hash, "data of source": self.stage.data if self.stage else None})

    def _digest(self, source: Mapping[str, Any]) -> str:
        settings, target = self.settings, self.target
        return digest(
            {
                **source,
                "version": SCORE_VERSION,
                "architecture": settings.architecture,
                "own": self.fingerprints.get(settings.architecture),
                "data": self.target_data,
                "protocol": target.protocol,
                "groups": target.groups,
                "leakage": target.leakage,
                "foreground": target.foreground,
                "fold": settings.fold,
                "dev_share": settings.dev_share,
                "fraction": settings.fraction,
                "subset": self.subset,
                "fixed_weights": self.fixed_weights,
            }
        )
