"""The table of generated datasets, and their reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from segsweep.data.dataset import Division, Example, Fit, Pixels
from segsweep.data.scenes import far, middle, near, pets, street
from segsweep.data.scenes.canvas import Random
from segsweep.errors import unknown

VERSION = 1  # raise it with every change that changes the arrays


@dataclass(frozen=True)
class Spec:
    """One generated dataset: its number of images, strata, classes, and the function that draws an image.

    `draw` returns the image (96, 96, 3) and its labels (96, 96), both uint8.
    """

    key: int  # stands for the dataset in the seed
    count: int
    strata: Sequence[str]  # in rotation over the images
    schemes: Mapping[str, Sequence[str]]
    values: Mapping[str, Sequence[int]]  # per scheme, the mask value of each drawn label
    draw: Callable[[Random, str], tuple[Pixels, Pixels]]


GENERATED: Mapping[str, Spec] = {
    "generated_pets": Spec(
        key=1,
        count=600,
        strata=tuple(pets.SPECIES),
        schemes={"foreground": ("background", "pet"), "trimap": ("pet", "background", "boundary")},
        values={"foreground": (1, 0, 1), "trimap": (0, 1, 2)},
        draw=pets.draw,
    ),
    "generated_near": Spec(
        key=2,
        count=480,
        strata=tuple(near.FIGURES),
        schemes={"figure": ("background", "figure")},
        values={"figure": (0, 1)},
        draw=near.draw,
    ),
    "generated_middle": Spec(
        key=3,
        count=480,
        strata=tuple(middle.OBJECTS),
        schemes={"objects": ("background", *middle.OBJECTS)},
        values={"objects": (0, 1, 2, 3)},
        draw=middle.draw,
    ),
    "generated_far": Spec(
        key=4,
        count=480,
        strata=tuple(far.RAGGED),
        schemes={"lesion": ("background", "lesion")},
        values={"lesion": (0, 1)},
        draw=far.draw,
    ),
    "generated_city": Spec(
        key=5,
        count=480,
        strata=tuple(street.CITY.numbers),
        schemes={"streets": street.CLASSES},
        values={"streets": tuple(range(len(street.CLASSES)))},
        draw=partial(street.draw, street.CITY),
    ),
    "generated_street": Spec(
        key=6,
        count=46,
        strata=("car and sign", "car", "car and sign", "car and sign", "car and sign", "car", "car and sign", "sign"),
        schemes={"three": ("background", "car", "traffic_sign")},
        values={"three": (0, 0, 0, 0, 0, 1, 0, 2)},
        draw=partial(street.draw, street.STREET),
    ),
}


@dataclass(frozen=True)
class Generated:
    """The reader of a generated dataset, which depends on no files. Raises `UserError` for a name outside `GENERATED`."""

    name: str
    protocols: ClassVar[Mapping[str, Division]] = {}

    def __post_init__(self) -> None:
        if self.name not in GENERATED:
            raise unknown("dataset", self.name, list(GENERATED))

    @property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes in the order of their mask values, per scheme; the first scheme is the default."""
        return GENERATED[self.name].schemes

    @property
    def fit(self) -> Fit:
        """`resize`; images are square already."""
        return "resize"

    @property
    def pool(self) -> Sequence[str]:
        """The only split, which a protocol in per cent divides."""
        return ("train",)

    def examples(self) -> list[Example]:
        """Return every example, such as `pets_00012`; the stratum is the kind of figure that it shows."""
        spec = GENERATED[self.name]
        strata = (spec.strata[index % len(spec.strata)] for index in range(spec.count))
        return [Example(self._example_name(index), stratum=stratum) for index, stratum in enumerate(strata)]

    def files(self) -> list[Path]:
        """Return an empty list: the images depend on no files."""
        return []

    def revision(self) -> str:
        """Return a text that changes whenever the images change."""
        return f"generated {self.name} {VERSION} {GENERATED[self.name].count}"

    def read(self, example: Example, scheme: str) -> tuple[Pixels, Pixels]:
        """Draw the image (96, 96, 3) and its mask (96, 96) of class numbers, both uint8.

        Raises `UserError` for an unknown scheme, and for an example of another dataset.
        """
        spec = GENERATED[self.name]
        if scheme not in spec.schemes:
            raise unknown("scheme", scheme, list(spec.schemes))
        index = self._index(example)
        rng = np.random.Generator(np.random.PCG64([VERSION, spec.key, index]))
        image, labels = spec.draw(rng, spec.strata[index % len(spec.strata)])
        return image, np.array(spec.values[scheme], np.uint8)[labels]

    def _index(self, example: Example) -> int:
        digits = example.name.rpartition("_")[2]
        index, count = int(digits) if digits.isdecimal() else -1, GENERATED[self.name].count
        if index not in range(count) or example.name != self._example_name(index):
            known = (self._example_name(0), "...", self._example_name(count - 1))
            raise unknown(f"example of {self.name}", example.name, known)
        return index

    def _example_name(self, index: int) -> str:
        return f"{self.name.removeprefix('generated_')}_{index:05d}"
