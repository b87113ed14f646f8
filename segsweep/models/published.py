"""Published weights, from the hubs that smp and timm know."""

from typing import Any

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import Tensor

from segsweep.errors import UserError
from segsweep.models.architectures import PLAIN


def imagenet_encoder(encoder: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an encoder's ImageNet weights by its own names, and where they come from.

    Raises `UserError` for an encoder that has none, and where they cannot be downloaded.
    """
    if encoder in PLAIN:
        raise UserError(f"source imagenet: {encoder} has no published weights; use an architecture DECODER-ENCODER")
    published = (
        smp_encoders[encoder]["pretrained_settings"] if encoder in smp_encoders else {"imagenet": {"repo_id": f"timm: {encoder}"}}
    )
    if "imagenet" not in published:
        raise UserError(f"source imagenet: {encoder} has no ImageNet weights; published: {', '.join(published)}")
    try:
        network = smp.encoders.get_encoder(encoder, weights="imagenet")
    except Exception as error:  # the hubs raise a dozen kinds: no network, no such file, a broken download
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"source imagenet: the weights of {encoder} ({published['imagenet']}) cannot be had: {reason}; "
            "with a network they are downloaded; without one, give a weight file by source file:PATH"
        ) from None
    origin = {key: str(value) for key, value in published["imagenet"].items() if key in ("repo_id", "revision", "url")}
    return network.state_dict(), {"dataset": "imagenet", **origin}
