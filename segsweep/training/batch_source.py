"""What the training loop and evaluation read: examples of a prepared dataset, in batches on the device."""

from collections.abc import Iterable, Iterator
from typing import Protocol, Self

from torch import Tensor

from segsweep.config.normalisation import Normalisation
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Indices
from segsweep.training.device import Device


class BatchSource(Protocol):
    """Some examples of a prepared dataset, each an input and a mask: `ImageSet` reads images for inputs.

    `data` holds masks, classes and names; `members` (N,) are the numbers of the examples in it. `augmentable` says whether the
    inputs are images (B, 3, H, W), uint8, which may be augmented; where they are not, a recipe must not augment.
    """

    @property
    def data(self) -> Prepared:
        """The dataset."""

    @property
    def members(self) -> Indices:
        """The numbers of the examples in the dataset, in the order of their positions."""

    @property
    def augmentable(self) -> bool:
        """Whether the inputs are images, uint8."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def first(self, count: int | None) -> Self:
        """Return a source of the first `count` examples; of all for None."""

    def batches(self, positions: Iterable[Indices], device: Device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the inputs (B, ...) and masks (B, H, W), int64, of each batch of positions 0..N-1, on the device."""

    def model_inputs(self, inputs: Tensor, normalisation: Normalisation) -> Tensor:
        """Return what the model's forward pass takes for inputs, which may be augmented, of one batch or of a part of it."""
