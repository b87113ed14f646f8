"""Specifications of schedulable work: a stage to build and a trial to run, as plain values that any process can receive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from segsweep.config.digest import digest
from segsweep.config.loss_text import user_losses
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import PREVENT, Leakage, Target

TRIAL_VERSION = 5  # raise by hand after a change of a method or default that makes results incomparable with old ones
STAGE_VERSION = 5

Phase = Literal["tune", "search", "confirm"]


@dataclass(frozen=True)
class StageSpec:
    """Specification of one stage of a chain, with everything that its result depends on.

    Attributes:
        stage: The stage.
        model: Architecture, or the encoder only for a stage that produces one.
        seed: Seed of the training.
        data: Key of the prepared data, or content hash of a weight file.
        settings: Settings of the training loop (`segsweep.config.stage_settings`).
        parent: Stage whose weights this stage starts from; None for the first of a chain.
        without: Numbers of images that are left out because the target validates or tests on them.
        leakage: The target's rule for such images.
        fingerprints: Fingerprints of the study's user objects, by their texts.
    """

    stage: Stage
    model: str
    seed: int
    data: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    parent: "StageSpec | None" = None
    without: tuple[int, ...] = ()
    leakage: Leakage = PREVENT
    fingerprints: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The chain up to this stage, in the notation of a source."""
        return str(self.stage) if self.parent is None else f"{self.parent.name}+{self.stage}"

    @cached_property
    def spec_id(self) -> str:
        """Digest of the specification, known before any stage of the chain is built."""
        return digest({**self._digest_parts(), "parent": self.parent.spec_id if self.parent else None})

    def key(self, parent_hash: str | None) -> str:
        """Return the key in the store, given the content hash of the parent's weights (None without a parent)."""
        return digest({**self._digest_parts(), "parent": parent_hash})

    def _digest_parts(self) -> dict[str, Any]:
        texts = [self.model, self.stage.kind, *user_losses(self.settings.get("loss", ""))]
        user_code = {text: self.fingerprints[text] for text in texts if text in self.fingerprints}
        return {
            **({"own": user_code} if user_code else {}),
            **({"without": list(self.without)} if self.without else {}),
            **({"leakage": self.leakage} if self.leakage != PREVENT else {}),
            "version": STAGE_VERSION,
            "kind": self.stage.kind,
            "limit": self.stage.limit,
            **({"weights": self.stage.weights} if self.stage.weights else {}),
            **({"options": self.stage.options} if self.stage.options else {}),
            "model": self.model,
            "seed": self.seed,
            "data": self.data,
            "settings": dict(self.settings),
        }

    @property
    def encoder_only(self) -> bool:
        """Whether the stage produces weights for an encoder only."""
        return self.stage.encoder_only


@dataclass(frozen=True)
class Trial:
    """One fine-tuning run: a cell, values of the tuned axes, a seed.

    Attributes:
        study: Name of the study.
        cell: Name of the cell.
        phase: `tune`, `search` for a trial of a search, or `confirm` for a confirmed run.
        settings: All settings of the run.
        seed: Seed of the run.
        target: Target with its protocol.
        target_data: Key of the target's prepared data.
        stage: Last stage of the source's chain; None for `random`.
        point: Number of a tuning trial in its cell, or of a trial in its search, from 0; None for a confirmed run.
        target_masks: Key of the target's masks at their original sizes, if the test uses them. The id does not cover it: the key
            of the data covers the contents of the masks.
        fingerprints: Fingerprints of the study's user objects, by their texts.
    """

    study: str
    cell: str
    phase: Phase
    settings: Settings
    seed: int
    target: Target
    target_data: str
    stage: StageSpec | None = None
    point: int | None = None
    target_masks: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def trial_id(self) -> str:
        """Digest of the trial: equal for equal work, independent of the names of its study and cell."""
        settings = self.settings.model_dump(exclude={"source"}, exclude_defaults=True)  # a new setting changes no old id
        settings = {name: value for name, value in settings.items() if not name.startswith(("source_", "ssl_"))}
        settings = {name: value for name, value in settings.items() if name not in self._without_effect()}
        user_code = {text: self.fingerprints[text] for text in self._texts() if text in self.fingerprints}
        maps = self.settings.transfer == "all" or "domain_shift" in settings
        mapped = {"class_map": dict(self.target.class_map)} if maps and self.target.class_map else {}
        headline = {"foreground": self.target.foreground} if self.target.foreground is not None else {}
        return digest(
            {
                "version": TRIAL_VERSION,
                "phase": self.phase,
                "settings": settings,
                "seed": self.seed,
                "protocol": self.target.protocol,
                "data": self.target_data,
                "stage": self.stage.spec_id if self.stage else None,
                **mapped,
                **headline,
                **({"groups": self.target.groups} if self.target.groups and self.target.leakage == PREVENT else {}),
                **({"leakage": self.target.leakage} if self.target.leakage != PREVENT else {}),
                **({"own": user_code} if user_code else {}),
            }
        )

    def _without_effect(self) -> set[str]:
        """Return settings that do not affect this trial.

        Only confirmed runs store clips and test; domain shift needs a whole source model. With random weights, the normalisations
        `source` and `imagenet` are equal.
        """
        idle = {"normalisation"} if self.stage is None and self.settings.normalisation == "imagenet" else set()
        if self.phase != "confirm":
            return idle | {"clip_images", "domain_shift", "test_size"}
        return idle | ({"domain_shift"} if self.stage is None or self.stage.encoder_only else set())

    def _texts(self) -> list[str]:
        """Return the texts in the settings that may name user objects."""
        return [self.settings.architecture, *user_losses(self.settings.loss)]

    @property
    def source_seed(self) -> int | None:
        """The seed of the source model; None without a source."""
        return self.stage.seed if self.stage else None
