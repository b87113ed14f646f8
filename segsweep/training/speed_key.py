"""The key of a speed: everything on which the time per image depends."""

import json
from dataclasses import asdict, dataclass

from segsweep.config.user_objects import fingerprint


@dataclass(frozen=True)
class SpeedKey:
    """What the time of a training step and of an evaluation depends on.

    Either `model` is an architecture with `classes` output channels, and `policy` and `frozen_norm` its freeze policy; or `model`
    is an encoder and `policy` the self-supervised method that trains it, with the stem for small images if `small_stem`. `kind`
    is the kind of device (see `segsweep.training.machine.device_kind`).
    """

    kind: str
    model: str
    classes: int
    image_px: int
    batch_size: int
    policy: str
    precision: str
    augmentation: str = "none"
    small_stem: bool = False
    frozen_norm: str = "eval"

    @property
    def text(self) -> str:
        """The key as JSON; with the fingerprints of the user's objects, so that changed code is measured again."""
        own = [found for name in (self.model, self.policy) if (found := fingerprint(name))]
        return json.dumps([*asdict(self).values(), *own])

    @staticmethod
    def kind_in(text: str) -> str:
        """Return the kind of device in the text of a key."""
        return str(json.loads(text)[0])

    @staticmethod
    def precision_in(text: str) -> str:
        """Return the precision in the text of a key."""
        return str(json.loads(text)[6])
