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
    assert str(mapping).splitlines() == ["background <- background", "boundary   <- (fresh)", "pet        <- cat, dog"]


@pytest.mark.parametrize(
    ("target", "synonyms", "words"),
    [
        (("background", "pet"), {}, ("background, pet", "aeroplane, cat, dog", "synonyms", "all-but-classifier")),
        (("pet",), {"pets": ["cat"]}, ("'pets' is no class of the target", "pet")),
        (("pet",), {"pet": ["cats"]}, ("pet <- 'cats' is no class of the source", "aeroplane, cat, dog")),
    ],
)
def test_a_mapping_that_says_nothing_is_refused(target, synonyms, words):
    """Nothing but background in common, and synonyms for classes that do not exist, are errors that list both sides."""
    with pytest.raises(UserError) as caught:
        map_classes(VOC, target, synonyms)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
