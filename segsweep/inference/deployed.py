"""The model of a confirmed run, built from its artifact: its network, its weights and its normalisation."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.user_objects import fingerprint
from segsweep.config.user_text import PREFIX
from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.store.contents import WEIGHTS_FILE
from segsweep.store.protocol import Artifact
from segsweep.training.batches import normalise
from segsweep.training.checkpoint import load_weights


class Deployed(nn.Module):
    """A network with its normalisation: RGB images (B, 3, H, W), uint8 0..255, to logits (B, classes, H, W)."""

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.normalisation = normalisation

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(normalise(images_BCHW, self.normalisation))
        return logits


def deployed(artifact: Artifact) -> Deployed:
    """Return a confirmed run's model with its weights, in eval mode.

    Raises `UserError` for an architecture of a study file that this process has not imported, or that has other code here than
    when it was trained.
    """
    card = artifact.metadata
    architecture = card["settings"]["architecture"]
    if architecture.startswith(PREFIX):
        _check_known(architecture, card.get("own", {}).get(architecture))
    model = build_model(architecture, len(card["classes"]), seed=0, sigmoid_class=sigmoid_class(card))
    try:
        model.network.load_state_dict(load_weights(artifact.folder / WEIGHTS_FILE)[0])
    except RuntimeError as error:
        if not architecture.startswith(PREFIX):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"architecture {architecture!r}: does not fit the weights that its study recorded: {reason}") from None
    return Deployed(model, normalisation_of(artifact)).eval()


def _check_known(architecture: str, trained: str | None) -> None:
    """Raise `UserError` where this process lacks a user's architecture, or has other code of that name than was `trained`.

    Models of earlier versions do not say which code was trained.
    """
    if (known := fingerprint(architecture)) is None:
        raise UserError(
            f"architecture {architecture!r}: is in its study file alone; run this in that file's folder as "
            '`python -c "import FILE; from segsweep.cli.commands import command_line; command_line()" ...`'
        )
    if trained is not None and known != trained:
        raise UserError(
            f"architecture {architecture!r}: its code here is not the code that was trained; import the study file as it "
            "was then and no other that has this name, or run the study again"
        )


def sigmoid_class(card: Mapping[str, Any]) -> int | None:
    """Return the class whose logit a model's one output channel is; None for a channel per class."""
    one = card["settings"].get("output") == "sigmoid"  # models from before that setting lack it
    return card["classes"].index(card["foreground"]) if one else None


def normalisation_of(artifact: Artifact) -> Normalisation:
    """Return a model's input normalisation: ImageNet's for a model from before each had its own."""
    card = artifact.metadata
    return Normalisation.of(card) if "mean" in card else IMAGENET
