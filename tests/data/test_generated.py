import hashlib
from collections import Counter

import numpy as np
import pytest
from contracts.dataset import DatasetContract

from segsweep.data.dataset import Example, Pixels
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.scenes import GENERATED, SIZE_PX, Generated
from segsweep.data.scenes.dataset import VERSION
from segsweep.data.scenes.street import BUS, CITY, CLASSES, SIGN, STREET, VEHICLES_PX
from segsweep.data.splits import split_target
from segsweep.errors import UserError

FIRST = 24  # images that the slower checks draw
FIGURES = ("generated_pets", "generated_near", "generated_middle", "generated_far")  # one figure per image

DIGESTS = {  # of the first four images and masks, at VERSION 1
    "generated_pets": "a521c00794fc645b",
    "generated_near": "1cea556d020aed2a",
    "generated_middle": "5df984897d908c59",
    "generated_far": "772146ab0351ac54",
    "generated_city": "dc993a792ad028c1",
    "generated_street": "a52a5b2779773ba7",
}


def drawn(name: str, scheme: str | None = None, count: int = FIRST) -> list[tuple[Pixels, Pixels]]:
    data = Generated(name)
    return [data.read(example, scheme or next(iter(data.schemes))) for example in data.examples()[:count]]


def foreground_iou(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((found & wanted).sum() / (found | wanted).sum())


def best_threshold_iou(pairs: list[tuple[Pixels, Pixels]]) -> float:
    """Return the best IoU of one threshold on a channel or the brightness, on either side, for all images."""
    images = np.stack([image for image, _ in pairs]).astype(float)
    wanted = np.stack([mask for _, mask in pairs]) > 0
    views = [images[..., 0], images[..., 1], images[..., 2], images.mean(-1)]
    cuts = range(16, 256, 16)
    return max(foreground_iou(view > cut if up else view <= cut, wanted) for view in views for cut in cuts for up in (0, 1))


class TestEveryGenerated(DatasetContract):
    @pytest.fixture(params=GENERATED)
    def make(self, request):
        return lambda: Generated(request.param)


@pytest.mark.parametrize("name", GENERATED)
def test_no_two_images_are_equal(name):
    """All examples are different images."""
    assert len({image.tobytes() for image, _ in drawn(name, count=6)}) == 6


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_images_are_pinned(name, digest):
    """The first images and masks are those of this `VERSION`; a change of them must raise the version."""
    content = b"".join(image.tobytes() + mask.tobytes() for image, mask in drawn(name, list(GENERATED[name].schemes)[-1], 4))
    assert hashlib.sha256(content).hexdigest()[:16] == digest


def test_the_global_random_state_is_unchanged():
    """Drawing neither reads nor changes numpy's global random state."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn("generated_pets", count=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(("name", "scheme"), [(name, scheme) for name in GENERATED for scheme in GENERATED[name].schemes])
def test_every_class_is_drawn(name, scheme):
    """Images are 96 pixels wide and high, and their masks show every class of the scheme."""
    pairs = drawn(name, scheme)
    assert {image.shape for image, _ in pairs} == {(SIZE_PX, SIZE_PX, 3)}
    seen = np.unique(np.stack([mask for _, mask in pairs]))
    assert seen.tolist() == list(range(len(GENERATED[name].schemes[scheme])))


def test_pet_schemes_agree():
    """The default scheme of the pets is `foreground`: the trimap's pet and boundary together, on the same image."""
    assert list(Generated("generated_pets").schemes) == ["foreground", "trimap"]
    pairs = zip(drawn("generated_pets", "foreground"), drawn("generated_pets", "trimap"), strict=True)
    for (image, foreground), (image_again, trimap) in pairs:
        assert np.array_equal(image, image_again)
        assert np.array_equal(foreground == 1, (trimap == 0) | (trimap == 2))


def test_boundary_separates_pet_and_background():
    """No pixel of the pet is a neighbour of the background: the boundary lies between them, as in Oxford-IIIT Pet."""
    for _, trimap in drawn("generated_pets", "trimap"):
        for one, other in ((trimap[1:], trimap[:-1]), (trimap[:, 1:], trimap[:, :-1])):
            assert not (((one == 0) & (other == 1)) | ((one == 1) & (other == 0))).any()


@pytest.mark.parametrize(
    ("name", "count"), [("generated_pets", 600), *((name, 480) for name in [*FIGURES[1:], "generated_city"])]
)
def test_examples_are_fixed_and_stratified(name, count):
    """The number of examples is fixed, the split is `train`, and the strata are equally large."""
    examples = Generated(name).examples()
    assert len(examples) == count
    assert {example.split for example in examples} == {"train"}
    strata = Counter(example.stratum for example in examples)
    assert set(strata) == set(GENERATED[name].strata)
    assert len(set(strata.values())) == 1


def test_identity_is_in_the_revision():
    """Generated data depend on no files; the revision holds dataset, version and count; a name holds its index."""
    data = Generated("generated_pets")
    assert data.files() == []
    assert data.revision() == "generated generated_pets 1 600"
    assert data.examples()[12].name == "pets_00012"
    assert (data.fit, data.pool) == ("resize", ("train",))


@pytest.mark.parametrize("name", FIGURES)
def test_foreground_share_is_in_a_sensible_range(name):
    """Every image shows part of the figure and of the background, and on average the figure fills 10 to 45 per cent."""
    shares = [float((mask > 0).mean()) for _, mask in drawn(name)]
    assert min(shares) > 0.01
    assert max(shares) < 0.8
    assert 0.10 < np.mean(shares) < 0.45


@pytest.mark.parametrize("name", ["generated_pets", "generated_near", "generated_middle"])
def test_colour_alone_does_not_find_the_figure(name):
    """The best threshold on a channel or the brightness is hardly better than predicting the figure everywhere."""
    pairs = drawn(name, count=40)
    everything = float(np.mean([mask > 0 for _, mask in pairs]))
    assert best_threshold_iou(pairs) < min(0.45, everything + 0.1)


def test_colour_alone_finds_a_lesion():
    """Brightness largely solves the far source, which is what makes it far."""
    assert best_threshold_iou(drawn("generated_far", count=40)) > 0.6


def test_surface_contrast_does_not_find_the_pet():
    """Neighbouring pixels differ by about as much inside the pets as outside: contrast is no cue."""
    inside, outside = [], []
    for image, mask in drawn("generated_pets", "trimap"):
        steps = np.abs(np.diff(image.astype(float).mean(-1), axis=1))
        inside.append(steps[mask[:, 1:] == 0].mean())
        outside.append(steps[mask[:, 1:] == 1].mean())
    assert 0.5 < np.mean(inside) / np.mean(outside) < 1.5


def class_shares(name: str, count: int) -> dict[str, float]:
    """Return the share of all pixels of each class, in per cent."""
    classes = next(iter(GENERATED[name].schemes.values()))
    masks = np.stack([mask for _, mask in drawn(name, count=count)])
    return {label: 100 * float((masks == number).mean()) for number, label in enumerate(classes)}


def test_the_target_street_is_as_unbalanced_as_a_real_one():
    """Of all pixels in the 46 images, 85 to 92 per cent are background, 6 to 12 cars and 1 to 2 signs, as in study 3's images."""
    share = class_shares("generated_street", 46)
    assert list(share) == ["background", "car", "traffic_sign"]
    assert 85 < share["background"] < 92
    assert 6 < share["car"] < 12
    assert 1 < share["traffic_sign"] < 2


def test_no_class_of_the_city_is_missing():
    """Road, houses and sky fill most of a street; every other class has between 0.4 and 12 per cent."""
    share = class_shares("generated_city", 96)
    assert tuple(share) == CLASSES
    assert all(10 < share[name] < 45 for name in ("road", "building", "sky"))
    assert all(0.4 < share[name] < 12 for name in ("vegetation", "person", "car", "bus", "traffic sign"))


def test_the_target_street_shows_the_objects_of_its_stratum():
    """29 images show cars and signs, 12 have no sign and 5 have no car."""
    examples = Generated("generated_street").examples()
    assert Counter(example.stratum for example in examples) == {"car and sign": 29, "car": 12, "sign": 5}
    for example, (_, mask) in zip(examples, drawn("generated_street", count=46), strict=True):
        assert ((mask == 1).any(), (mask == 2).any()) == ("car" in example.stratum, "sign" in example.stratum)


def test_every_part_of_the_target_street_has_cars_and_signs(store, quiet):
    """Divided as in study 3, the 46 images give parts of 32, 5 and 9, each with at least three images that show a sign."""
    data = prepare(DataSpec(Generated("generated_street"), None, 32), store, quiet)
    split = split_target(data, "70-10-20")
    parts = (split.train, split.val, split.test)
    assert tuple(map(len, parts)) == (32, 5, 9)
    for part in parts:
        strata = [data.strata[int(member)] for member in part]
        assert sum("sign" in stratum for stratum in strata) >= 3
        assert sum("car" in stratum for stratum in strata) >= 3


def street_labels(name: str, index: int) -> Pixels:
    """Return the labels of an image of a street, as numbers of `CLASSES`."""
    spec = GENERATED[name]
    rng = np.random.Generator(np.random.PCG64([VERSION, spec.key, index]))
    return spec.draw(rng, spec.strata[index % len(spec.strata)])[1]


def test_a_bus_of_the_target_street_is_background():
    """Buses, which are a class of the city, are drawn in the target too, as background."""
    buses = 0
    for index, (_, mask) in enumerate(drawn("generated_street", count=46)):
        bus = street_labels("generated_street", index) == BUS
        buses += bool(bus.any())
        assert not mask[bus].any()
    assert buses >= 8


def mean_colour(name: str, number: int | None = None) -> np.ndarray:
    """Return the mean of red, green and blue in 0..255, of all pixels or of one of `CLASSES`."""
    pixels = [p if number is None else p[street_labels(name, n) == number] for n, (p, _) in enumerate(drawn(name))]
    return np.concatenate([some.reshape(-1, 3) for some in pixels]).mean(0)


def test_signs_and_light_differ_between_countries():
    """The city's signs are reddish, the target's blue or green; the target is darker and warmer than the city."""
    sign, other = mean_colour("generated_city", SIGN), mean_colour("generated_street", SIGN)
    assert sign[0] > sign[1:].max() + 20
    assert other[0] < other[1:].min() - 10
    city, street = mean_colour("generated_city"), mean_colour("generated_street")
    assert street.mean() < city.mean() - 15
    assert street[0] - street[2] > city[0] - city[2] + 15


@pytest.mark.parametrize("country", [CITY, STREET])
def test_vehicles_have_a_depth_each(country):
    """No image has more vehicles than there are depths, or two buses."""
    for numbers in country.numbers.values():
        assert max(numbers["car"]) + max(numbers["bus"]) <= len(VEHICLES_PX)
        assert max(numbers["bus"]) <= 1


def test_unknown_name_lists_the_names():
    """An unknown dataset or scheme is an error that lists the known ones."""
    with pytest.raises(UserError, match=r"dataset: unknown name 'generated_cats'.*generated_pets.*generated_far"):
        Generated("generated_cats")
    with pytest.raises(UserError, match=r"scheme: unknown name 'edges'.*foreground, trimap"):
        Generated("generated_pets").read(Example("pets_00000"), "edges")


def test_unknown_example_is_refused():
    """An example of another dataset, or past the end, is an error that names it."""
    for name in ("near_00000", "pets_00600", "pets_x"):
        with pytest.raises(UserError, match=name):
            Generated("generated_pets").read(Example(name), "foreground")
