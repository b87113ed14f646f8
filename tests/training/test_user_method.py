"""A self-supervised method that a study file declares: it fulfils the contract, and mistakes in it are found before a run."""

import pytest
import torch
from contracts.self_supervised import SelfSupervisedContract
from contracts.toy_method import Darkened
from extending_page import example

from segsweep.config.user_objects import SelfSupervisedMethod, register, user_object
from segsweep.errors import UserError
from segsweep.models.architectures import build_encoder
from segsweep.training.user_method import check_user_method


class TestTheMethodOfThePage(SelfSupervisedContract):
    """The example of sweeps/EXTENDING.md does what every self-supervised method must do, as an object of a study file.

    The reference is the formula of the cross-entropy. The method matches no views, so its loss on held-out images measures it.
    """

    kind = "own:rotation"
    better_by = 0.05
    epochs = 9

    @pytest.fixture(autouse=True)
    def _registered(self, tmp_path):
        register({self.kind: SelfSupervisedMethod("rotation", example("rotation", tmp_path).Rotation)})

    @pytest.fixture
    def easy(self, monkeypatch):
        """Patch the method so that a bright stripe marks the upper side of each image."""
        method, views = user_object(self.kind).build, user_object(self.kind).build.views

        def with_stripe(self, images_BCHW, *rest):
            bright = images_BCHW.clone()
            bright[:, :, :8] = 255
            return views(self, bright, *rest)

        monkeypatch.setattr(method, "views", with_stripe)

    def reference(self, output, count, recipe):  # noqa: ARG002
        probabilities = output.exp() / output.exp().sum(dim=1, keepdim=True)
        return -torch.cat([probabilities[turns * count : (turns + 1) * count, turns] for turns in range(4)]).log().mean()

    def measure(self, result):
        assert result.contrastive_accuracy is None
        return -result.val_loss


class FloatViews(Darkened):
    def views(self, images_BCHW, count, rows, chance):
        return super().views(images_BCHW, count, rows, chance).float()


class WeightsOutside(Darkened):
    def __init__(self, encoder, image_px):
        super().__init__(encoder, image_px)
        self.other = torch.nn.Linear(1, 1)


class WithoutGradient(Darkened):
    def loss(self, output, count, world):
        return super().loss(output.detach(), count, world)


class Raising(Darkened):
    def forward(self, views):  # noqa: ARG002
        raise KeyError("head")


def check(method_class):
    register({"own:wrong": SelfSupervisedMethod("wrong", lambda encoder, recipe: method_class(encoder, recipe.image_px))})
    check_user_method("own:wrong", build_encoder("unet16", 0), 32)


def test_a_method_without_mistakes_passes_and_leaves_the_random_state():
    """The check raises nothing and draws nothing from torch's global generator."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    check(Darkened)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("method_class", "message"),
    [
        (lambda encoder, _: encoder, "build returns .*; must return a segsweep"),
        (lambda _, image_px: Darkened(build_encoder("unet16", 1), image_px), "must be an nn.ModuleDict that holds the encoder"),
        (WeightsOutside, "some weights are outside network"),
        (FloatViews, r"views returns torch.float32 \(8, 3, 32, 32\); must return uint8"),
        (WithoutGradient, "loss must return a finite scalar with a gradient"),
        (Raising, r"cannot be built and run at 32 px: KeyError\('head'\)"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_method(method_class, message):
    """A wrong method raises `UserError` with its text and the mistake."""
    with pytest.raises(UserError, match="own:wrong.*" + message):
        check(method_class)
