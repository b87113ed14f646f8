"""The protocol that training and evaluation read from: examples of a prepared dataset, in batches on the device."""

from collections.abc import Iterable, Iterator
from typing import Protocol, Self

from torch import Tensor

from segsweep.config.normalisation import Normalisation
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Indices
from segsweep.training.device import Device


class BatchSource(Protocol):
    """N examples of a prepared dataset, each an input and a mask. `ImageSet` is the source whose inputs are images.

    `data` holds masks, classes and names; `members` (N,) are the numbers of the examples in it. If `augmentable`, the inputs are
    images (B, 3, H, W), uint8, which may be augmented; otherwise the recipe must not augment.
    """

    @property
    def data(self) -> Prepared:
        """The prepared dataset."""

    @property
    def members(self) -> Indices:
        """The numbers of the examples in the dataset, (N,) int64, in the order of their positions."""

    @property
    def augmentable(self) -> bool:
        """Whether the inputs are images, (B, 3, H, W) uint8."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def first(self, count: int | None) -> Self:
        """Return a source of the first `count` examples; of all examples for None."""

    def batches(self, positions: Iterable[Indices], device: Device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the inputs (B, ...) and masks (B, H, W), int64, on the device, for each array (B,) of positions 0..N-1."""

    def model_inputs(self, inputs: Tensor, normalisation: Normalisation) -> Tensor:
        """Return the model's input (B, ...), float32, for inputs of a batch or a micro-batch, which may be augmented."""
