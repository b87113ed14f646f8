from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Indices
from segsweep.models.segmentation_model import Parts, SegmentationModel
from segsweep.training.batch_source import BatchSource
from segsweep.training.batches import ImageSet
from segsweep.training.device import Device
from segsweep.training.loop import start_state, train


@dataclass(frozen=True)
class StoredFeatures:
    """A second kind of batch source: features of a frozen encoder, computed once."""

    data: Prepared
    members: Indices
    features_NCHW: Tensor
    augmentable: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.members)

    def first(self, count: int | None) -> "StoredFeatures":
        return replace(self, members=self.members[:count], features_NCHW=self.features_NCHW[:count])

    def batches(self, positions: Iterable[Indices], device: Device) -> Iterator[tuple[Tensor, Tensor]]:
        for few in positions:
            masks = torch.from_numpy(self.data.masks[self.members[few]]).long()
            yield self.features_NCHW[few].to(device.torch), masks.to(device.torch)

    def model_inputs(self, inputs: Tensor, normalisation: Normalisation) -> Tensor:  # noqa: ARG002
        return inputs


class FromFeatures(SegmentationModel):
    """A model whose input is features."""

    def forward(self, features: Tensor) -> Tensor:
        return self.decode(features, (16, 16))


def frozen(kind: type[SegmentationModel]) -> SegmentationModel:
    """Return a small network with a frozen encoder."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    network = nn.Sequential(encoder, nn.Sequential(nn.ConvTranspose2d(6, 4, 2, stride=2), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)))
    model = kind(network, Parts("0.", "1.2.", decode=lambda network, features, _: network[1](features)))
    model.freeze_parts(["0."])
    return model


def stored(model: SegmentationModel, images: ImageSet, device: Device) -> StoredFeatures:
    ((shown, _),) = images.batches([np.arange(len(images))], device)
    with torch.inference_mode():
        return StoredFeatures(images.data, images.members, model.eval().encode(images.model_inputs(shown, IMAGENET)))


def test_the_loop_trains_from_stored_features_as_from_images(image_set, recipe, cpu, tmp_path):
    """With a frozen encoder and without augmentation, training on its stored features gives the same losses, metrics and weights
    as training on the images.
    """
    whole, made = image_set(9, ignored=True), recipe(augmentation="none", learning_rate=0.01)
    images: list[BatchSource] = [replace(whole, members=part) for part in np.split(whole.members, [6])]
    features: list[BatchSource] = [stored(frozen(SegmentationModel), each, cpu) for each in images]
    found = []
    for name, kind, sets in (("images", SegmentationModel, images), ("features", FromFeatures, features)):
        state = start_state(frozen(kind), made, cpu, tmp_path / name)
        results = list(train(state, *sets, made, seed=3, device=cpu, checkpoint=tmp_path / name))
        found.append(([(each.train_loss, each.val_loss, each.val.mean_iou) for each in results], state.best))
    (curve, weights), (other_curve, other_weights) = found
    np.testing.assert_allclose(other_curve, curve, rtol=1e-5)
    for name, tensor in weights.items():
        torch.testing.assert_close(other_weights[name], tensor, rtol=1e-4, atol=1e-6)
    assert curve[-1][0] < curve[0][0]


def test_inputs_that_are_no_images_are_not_augmented(image_set, recipe, cpu, tmp_path):
    """A recipe with augmentation stops before the first step if the inputs are not images."""
    model, whole, made = frozen(FromFeatures), image_set(6), recipe(augmentation="flip")
    source = stored(frozen(SegmentationModel), whole, cpu)
    state = start_state(model, made, cpu, tmp_path / "x")
    with pytest.raises(AssertionError):
        next(train(state, source, source, made, seed=0, device=cpu, checkpoint=tmp_path / "x"))
