import pytest
import torch

from segsweep.errors import UserError
from segsweep.models.class_map import map_classes

VOC = ("background", "aeroplane", "cat", "dog", "dining table")


def test_equal_lists_map_each_class_to_itself():
    """Equal class lists give the identity, which hands the source's rows on to the bit."""
    source = torch.rand(5, 4, 1, 1)
    mapping = map_classes(VOC, VOC)
    assert mapping.rows == ((0,), (1,), (2,), (3,), (4,))
    assert torch.equal(mapping.apply(torch.zeros(5, 4, 1, 1), source), source)
    assert mapping.fresh == ()


def test_spelling_aside_the_same_name_is_the_same_class():
    """Upper and lower case, spaces, underscores and hyphens do not matter; other words need a synonym."""
    assert map_classes(VOC, ("Background", "dining_table", "DINING-TABLE", "Cat", "airplane")).rows == (
        (0,),
        (4,),
        (4,),
        (2,),
        (),
    )
    assert map_classes(VOC, ("airplane", "cat"), {"airplane": ["aeroplane"]}).rows == ((1,), (2,))


def test_several_source_classes_give_their_mean_and_none_keeps_the_fresh_row():
    """A target class takes the mean of the rows of all its source classes; one without any keeps its own row."""
    mapping = map_classes(VOC, ("background", "boundary", "pet"), {"pet": ["cat", "Dog"]})
    own, source = torch.arange(6.0).view(3, 2) + 100, torch.arange(10.0).view(5, 2)
    assert torch.equal(mapping.apply(own, source), torch.tensor([[0.0, 1.0], [102.0, 103.0], [5.0, 6.0]]))
    assert mapping.fresh == ("boundary",)


def test_the_table_reads_target_from_source():
    """The printed table has a line per target class with the classes that it takes, or that it starts fresh."""
    mapping = map_classes(VOC, ("background", "boundary", "pet"), {"pet": ["cat", "dog"]})
    assert str(mapping).splitlines() == ["background <- background", "boundary   <- (random weights)", "pet        <- cat, dog"]


@pytest.mark.parametrize(
    ("target", "synonyms", "words"),
    [
        (("background", "pet"), {}, ("background, pet", "aeroplane, cat, dog", "synonyms", "all-but-classifier")),
        (("pet",), {"pets": ["cat"]}, ("'pets' is not a class of the target", "pet")),
    ],
)
def test_a_map_without_a_common_class_is_refused(target, synonyms, words):
    """Only the background in common, and synonyms for a name that is no class of the target, are errors that list both sides."""
    with pytest.raises(UserError) as caught:
        map_classes(VOC, target, synonyms)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_synonyms_of_another_source_are_passed_over():
    """A synonym that this source does not have changes nothing: another source of the study may have it."""
    assert map_classes(VOC, ("background", "pet"), {"pet": ["cat", "kitten"]}).rows == ((0,), (2,))


def test_only_equal_lists_are_one_to_one():
    """Classes in another order, fewer of them, or one with a synonym beside its own name are not one to one."""
    assert map_classes(VOC, VOC).one_to_one
    assert map_classes(VOC, tuple(name.upper() for name in VOC)).one_to_one
    assert not map_classes(VOC, VOC[::-1]).one_to_one
    assert not map_classes(VOC, VOC[:-1]).one_to_one
    assert not map_classes(VOC, VOC, {"cat": ["dog"]}).one_to_one


def test_what_stands_for_nothing_stands_for_the_background():
    """All source classes without a like go to the target's background; without one they go nowhere."""
    assert map_classes(VOC, ("pet", "Background"), {"pet": ["cat", "dog"]}).rest_as_background().rows == ((2, 3), (0, 1, 4))
    assert map_classes(("road", "cat"), ("cat", "background", "boundary")).rest_as_background().rows == ((1,), (0,), ())
    assert map_classes(VOC, ("cat", "boundary")).rest_as_background().rows == ((2,), ())


def test_logits_of_a_class_are_the_highest_of_those_that_stand_for_it():
    """The target's logits are maxima over source classes; a class that none stands for is never the highest."""
    mapping = map_classes(VOC, ("background", "pet", "boundary"), {"pet": ["cat", "dog"]}).rest_as_background()
    source = torch.randn(2, 5, 4, 3)
    found = mapping.logits(source)
    assert torch.equal(found[:, 0], source[:, [0, 1, 4]].max(dim=1).values)
    assert torch.equal(found[:, 1], torch.maximum(source[:, 2], source[:, 3]))
    assert not (found.argmax(dim=1) == 2).any()
