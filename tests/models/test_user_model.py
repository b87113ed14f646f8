"""Architectures that a study file declares as objects."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from segsweep.config import Architecture, Study, Target
from segsweep.config.user_objects import register
from segsweep.errors import UserError
from segsweep.models.architectures import build_model, check_architecture
from segsweep.models.encoder_name import encoder_name
from segsweep.models.freeze import check_freeze_fits, freeze
from segsweep.models.parameter_groups import parameter_groups
from segsweep.sweep.study_checks import check_names


class Net(nn.Module):
    """Two levels and a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, padding=1))
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


NET = Architecture("net", Net, encoder="body.", classifier="head.", levels=[["body.0.", "body.1."], ["body.2."]], stride_px=4)


@pytest.fixture(autouse=True)
def _brought():
    register({"own:net": NET})


def test_a_users_architecture_is_built_like_others():
    """It is built by its text, equal for equal seeds, and its parts are known to freeze policies and learning rates."""
    check_architecture("own:net", 32)
    model, again, other = (build_model("own:net", 5, seed) for seed in (0, 0, 1))
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5, 8, 8)
    assert torch.equal(model.network.head.weight, again.network.head.weight)
    assert not torch.equal(model.network.head.weight, other.network.head.weight)
    assert model.encoder is model.network.body
    assert [len(group["params"]) for group in parameter_groups(model, 1e-3, layer_decay=0.5)] == [2, 4, 2]
    freeze(model, "encoder:1")
    assert next(name for name, p in model.network.named_parameters() if p.requires_grad).startswith("body.2")
    check_freeze_fits("own:net", "encoder:2")
    with pytest.raises(UserError, match=r"own:net.*has 2 levels"):
        check_freeze_fits("own:net", "encoder:3")


def test_its_encoder_is_shared_with_no_other():
    """A user's architecture shares an encoder with no other architecture, with or without a dash in its name."""
    assert encoder_name("own:my-net") == "own:my-net"


def broken(classes: int) -> nn.Module:
    raise RuntimeError(f"no weights for {classes} classes")


def small(classes: int) -> nn.Module:
    return nn.Conv2d(3, classes, 3)


@pytest.mark.parametrize(
    ("changes", "image_px", "message"),
    [
        ({}, 30, "image_px=30: own:net needs a multiple of 4"),
        ({"build": broken}, 32, r"cannot be built and run at 32 px: RuntimeError\('no weights for 2 classes'\)"),
        (
            {"build": lambda classes: nn.Conv2d(3, classes, 3), "levels": ()},
            32,
            r"returns \(1, 2, 30, 30\) .* logits \(1, 2, 32, 32\)",
        ),
        ({"encoder": "backbone.", "levels": ()}, 32, r"encoder='backbone.' names no parameter; names begin with body\., head\."),
        ({"classifier": "classifier."}, 32, "classifier='classifier.' names no parameter"),
        ({"encoder": "bod", "levels": ()}, 32, "encoder='bod' must be a module's name and a dot"),
        ({"levels": [["body.0."]]}, 32, "body.1.weight of its encoder lies in 0 of its levels"),
        ({"levels": [["body.0.", "body.1", "body.2."], ["body.2."]]}, 32, "body.2.weight of its encoder lies in 2 of its levels"),
        ({"levels": [["body.nine"]]}, 32, "levels name 'body.nine', which is neither a module nor a parameter"),
        ({"levels": [["head."]]}, 32, r"levels name 'head\.', which does not begin with the encoder's 'body\.'"),
    ],
)
def test_an_architecture_unlike_its_declaration_is_refused(changes, image_px, message):
    """Before any training, one line states the error of a user's architecture."""
    register({"own:net": replace(NET, **changes)})
    with pytest.raises(UserError, match=message) as caught:
        check_architecture("own:net", image_px)
    assert "\n" not in str(caught.value)


def test_a_users_architecture_of_one_logit_is_checked_with_one_channel():
    """If a study requests one logit, a user's architecture that cannot have one output channel is refused before the run."""

    def at_least_two(classes):
        return Net(max(2, classes))

    for build, good in ((Net, True), (at_least_two, False)):
        register({"own:net": replace(NET, build=build)})
        study = Study("s", Target("pets"), {"architecture": ["own:net"]}, fixed={"image_px": 32, "output": "sigmoid"})
        if good:
            check_names(study)
        else:
            with pytest.raises(UserError, match=r"own:net'?: returns \(1, 2, 32, 32\) .* must return logits \(1, 1, 32, 32\)"):
                check_names(study)
        check_names(replace(study, fixed={"image_px": 32}))
