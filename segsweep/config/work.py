"""What there is to do: a stage to build, a trial to run. Both are plain values that any process can be handed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from segsweep.config.digest import digest
from segsweep.config.loss_text import user_losses
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import PREVENT, Leakage, Target

TRIAL_VERSION = 5  # raise by hand when the method, or the default of a setting, changes so that old trials do not compare
STAGE_VERSION = 5

Phase = Literal["tune", "confirm"]


@dataclass(frozen=True)
class StageSpec:
    """One stage of one chain, with all that its result depends on.

    `model` is the architecture, or the encoder alone for stages that give one; `data` the key of the prepared data, or
    the content hash of a file; `settings` what the training loop is told; `parent` the stage whose weights it starts from.
    `without` are the numbers of the images of the data that are left out, since the target validates or tests on
    them; `leakage` is the target's; `fingerprints` are those of the objects that the study brings.
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
        """The chain up to this stage, as a source is written."""
        return str(self.stage) if self.parent is None else f"{self.parent.name}+{self.stage}"

    @cached_property
    def spec_id(self) -> str:
        """The identity of the stage before anything is built."""
        return digest({**self._digest_parts(), "parent": self.parent.spec_id if self.parent else None})

    def key(self, parent_hash: str | None) -> str:
        """Return the key in the store, given the content hash of the weights that the stage starts from."""
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
        """Whether the stage gives an encoder alone."""
        return self.stage.encoder_only


@dataclass(frozen=True)
class Trial:
    """One fine-tuning run: a cell, values of the tuned axes, a seed.

    `target_data` is the key of the target's prepared data, `stage` the last stage of the source's chain (None for
    `random`). `point` numbers the tuning trials of a cell from 0. `target_masks` is the key of the target's masks at their own
    sizes, where a test uses them; the key of the data covers their contents. `fingerprints` are those of the user objects
    that the study brings.
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
        """The identity of the trial: equal for equal work, whatever the study is called or how its cells are named."""
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
        """The settings that change nothing of this trial: only confirmed runs are filmed, and shift with a whole model.

        With random weights, `source` and `imagenet` mean the same normalisation.
        """
        idle = {"normalisation"} if self.stage is None and self.settings.normalisation == "imagenet" else set()
        if self.phase == "tune":
            return idle | {"clip_images", "domain_shift", "test_size"}
        return idle | ({"domain_shift"} if self.stage is None or self.stage.encoder_only else set())

    def _texts(self) -> list[str]:
        """The texts in the settings that may stand for objects."""
        return [self.settings.architecture, *user_losses(self.settings.loss)]

    @property
    def source_seed(self) -> int | None:
        """The seed of the source model, or None where there is none."""
        return self.stage.seed if self.stage else None
