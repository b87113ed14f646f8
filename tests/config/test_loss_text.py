import pytest

from segsweep.config import Settings
from segsweep.config.loss_text import LossTerm, canonical_loss, parse_loss
from segsweep.errors import UserError


def test_a_sum_has_weighted_terms():
    """A loss is a name or a sum of names, each with a weight that defaults to 1."""
    assert parse_loss("dice") == (LossTerm("dice"),)
    assert parse_loss("0.5*cross_entropy + dice") == (LossTerm("cross_entropy", 0.5), LossTerm("dice"))
    assert parse_loss("own:mine+2*focal") == (LossTerm("own:mine"), LossTerm("focal", 2.0))


def test_equivalent_texts_are_one_value():
    """Spaces and weights of 1 make no difference, so they create no other cell."""
    assert canonical_loss(" 1*cross_entropy+ 0.50*dice") == "cross_entropy+0.5*dice"
    assert Settings.build(loss="1.0*dice").loss == "dice"


@pytest.mark.parametrize("weight", [1000000.0, 0.1234567, 1e-7, 1e22, 3.0])
def test_weights_keep_their_value(weight):
    """A canonical text parses to exactly the weight that it was made from, and is its own canonical text."""
    text = canonical_loss(f"{weight!r}*dice".replace("e+", "e"))
    assert parse_loss(text) == (LossTerm("dice", weight),)
    assert canonical_loss(text) == text


@pytest.mark.parametrize(
    "text", ["", "mse", "dice+", "dice dice", "-1*dice", "0*dice", "x*dice", "dice*2", "inf*dice", "1e400*dice"]
)
def test_a_text_that_is_not_a_loss_is_refused(text):
    """Any other text raises one line that lists the losses."""
    with pytest.raises(UserError, match=r"loss=.*is not a loss; allowed are 'cross_entropy', .*'lovasz'"):
        Settings.build(loss=text)


def test_a_loss_that_is_named_twice_is_refused():
    """A loss has one weight."""
    with pytest.raises(UserError, match="names a loss twice"):
        Settings.build(loss="dice+2*dice")
