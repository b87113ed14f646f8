"""The model of a confirmed run, loaded from its artifact: network, weights and normalisation."""

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
    """A network with its normalisation: maps RGB images (B, 3, H, W), uint8 0..255, to logits (B, classes, H, W)."""

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.normalisation = normalisation

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W)."""
        logits: Tensor = self.network(normalise(images_BCHW, self.normalisation))
        return logits


def deployed(artifact: Artifact) -> Deployed:
    """Return a confirmed run's model with its weights, in eval mode.

    Raises:
        UserError: the architecture comes from a study file that this process has not imported, or whose code has changed since
            the training.
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
    """Raise `UserError` if this process lacks a user's architecture, or has different code than was `trained`.

    Models of earlier versions do not record their code (`trained` is None).
    """
    if (known := fingerprint(architecture)) is None:
        raise UserError(
            f"architecture {architecture!r}: is defined in its study file; run this in that file's folder as "
            '`python -c "import FILE; from segsweep.cli.commands import command_line; command_line()" ...`'
        )
    if trained is not None and known != trained:
        raise UserError(
            f"architecture {architecture!r}: its code here is not the code that was trained; import the study file as it "
            "was then, and no other with this name, or run the study again"
        )


def sigmoid_class(card: Mapping[str, Any]) -> int | None:
    """Return the class whose logit is a model's single output channel; None for a model with a channel per class."""
    one = card["settings"].get("output") == "sigmoid"  # models of earlier versions lack it
    return card["classes"].index(card["foreground"]) if one else None


def normalisation_of(artifact: Artifact) -> Normalisation:
    """Return a model's input normalisation; ImageNet's for models of earlier versions, which do not record it."""
    card = artifact.metadata
    return Normalisation.of(card) if "mean" in card else IMAGENET
