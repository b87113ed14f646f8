import numpy as np
import pytest
import torch
from contracts.self_supervised import SelfSupervisedContract
from pytorch_metric_learning.losses import NTXentLoss

from segsweep.models.architectures import build_encoder
from segsweep.training import simclr
from segsweep.training.augment import Augmentation, augment, draw
from segsweep.training.simclr import EMBEDDING, VIEWS, SimCLR, nt_xent, projection_head


class TestSimCLR(SelfSupervisedContract):
    """SimCLR fulfils the contract of self-supervised methods; the reference is pytorch-metric-learning."""

    kind = "simclr"
    better_by = 0.1

    def reference(self, output, count, recipe):
        return NTXentLoss(temperature=recipe.temperature)(output, torch.arange(count).repeat(2))

    @pytest.fixture
    def easy(self, monkeypatch):
        """Views that differ little: the paper's views would need more images and epochs."""
        monkeypatch.setattr(simclr, "VIEWS", Augmentation(flip=0.5, crop=0.9))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("count", [2, 7])
def test_nt_xent_equals_an_independent_implementation(count, temperature):
    """Loss and gradient are those of pytorch-metric-learning, in double precision."""
    chance = torch.Generator().manual_seed(count)
    views = torch.randn(2 * count, 5, generator=chance, dtype=torch.double, requires_grad=True)
    loss, _ = nt_xent(views[:count], views[count:], temperature)
    (found,) = torch.autograd.grad(loss, views)
    expected = NTXentLoss(temperature=temperature)(views, torch.arange(count).repeat(2))
    (wanted,) = torch.autograd.grad(expected, views)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, wanted)


def test_the_share_matched_counts_views_whose_other_view_is_nearest():
    """With three images whose views are equal, equal, and different, two thirds of the views are matched."""
    first = torch.eye(4)[:3]
    second = torch.stack([first[0], first[1], first[0] + 0.1 * torch.eye(4)[3]])
    _, right = nt_xent(first, second, 0.5)
    assert float(right) == pytest.approx(4 / 6)
    _, all_right = nt_xent(first, first, 0.5)
    assert float(all_right) == 1


def test_two_views_of_an_image_differ_and_are_independent():
    """Equal images give views that all differ; the same generator state repeats them."""
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    method = SimCLR(build_encoder("unet4", 0), 32, 0.5)
    images = image.repeat(6, 1, 1, 1)
    own = torch.arange(6).numpy()
    views, again = (method.views(images, 6, own, torch.Generator().manual_seed(1)) for _ in range(2))
    assert views.shape == (12, 3, 32, 32)
    assert torch.equal(views, again)
    assert len(torch.unique(views.flatten(1), dim=0)) == 12


def test_views_crop_as_torchvision_draws():
    """Areas lie in 8..100 per cent of the image, ratios in 3/4..4/3, and all crops inside the image."""
    drawn = draw(VIEWS, 4000, torch.Generator().manual_seed(0))
    sides = drawn.sides_B2.double()
    area, ratio = sides.prod(dim=1), sides[:, 0] / sides[:, 1]
    assert 0.08 - 1e-6 <= float(area.min()) < 0.09
    assert float(area.max()) <= 1
    assert float(ratio.min()) >= 3 / 4 - 1e-6
    assert float(ratio.max()) <= 4 / 3 + 1e-6
    assert float(area.mean()) == pytest.approx(0.5, abs=0.02)  # torchvision's own mean over 4,000 draws is 0.50
    assert bool((sides <= 1).all())


def test_colour_change_blur_and_grey_have_their_probabilities():
    """A fifth of the images are grey, four fifths have changed colours, half are blurred."""
    drawn = draw(VIEWS, 4000, torch.Generator().manual_seed(0))
    assert float(drawn.grey_B.float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((drawn.sigma_B > 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    unchanged = (drawn.factors_BJ == torch.tensor([1.0, 1.0, 1.0, 0.0])).all(dim=1)
    assert float(unchanged.float().mean()) == pytest.approx(0.2, abs=0.02)
    images = torch.randint(0, 256, (40, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = draw(VIEWS, 40, torch.Generator().manual_seed(0))
    views, _ = augment(VIEWS, images, torch.zeros(40, 1, 1, dtype=torch.long), drawn)
    spread = (views.int().amax(dim=1) - views.int().amin(dim=1)).flatten(1).amax(dim=1)
    assert torch.equal(spread <= 1, drawn.grey_B)  # rounding aside, the three channels are equal


@pytest.mark.parametrize("name", ["unet4", "resnet18", "mobilenet_v2"])
def test_a_method_projects_the_pooled_features_of_any_encoder(name):
    """For any encoder, a view is projected to 128 dimensions, and all used parts of the encoder get a gradient."""
    method = SimCLR(build_encoder(name, 0), 32, 0.5)
    output = method(torch.randn(4, 3, 32, 32))
    assert output.shape == (4, EMBEDDING)
    output.pow(4).sum().backward()
    trained = [parameter for parameter in method.network["projection"].parameters() if parameter.requires_grad]
    assert len(trained) == 5
    assert all(parameter.grad is not None for parameter in trained)
    assert next(method.network["encoder"].parameters()).grad is not None


def normalised(values: np.ndarray) -> np.ndarray:
    """Return values (B, D) minus their mean over the batch, divided by their deviation."""
    return (values - values.mean(axis=0)) / np.sqrt(values.var(axis=0) + 1e-5)


def test_the_projection_is_the_authors():
    """Linear, normalisation, ReLU, linear, normalisation with scale and without offset, computed here by numpy."""
    head = projection_head(6).double()
    first, norm, _, second, last = head
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 6))
        norm.bias.copy_(torch.linspace(-1, 1, 6))
        last.weight.copy_(torch.linspace(0.1, 3, EMBEDDING))
    features = torch.randn(9, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    hidden = normalised(features.numpy() @ first.weight.detach().numpy().T) * np.linspace(0.5, 2, 6) + np.linspace(-1, 1, 6)
    expected = normalised(np.maximum(hidden, 0) @ second.weight.detach().numpy().T) * np.linspace(0.1, 3, EMBEDDING)
    assert head(features).detach().numpy() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_last_offset_never_changes():
    """Training changes the scale of the last normalisation, and its offset stays 0."""
    head = projection_head(6)
    optimizer = torch.optim.SGD([each for each in head.parameters() if each.requires_grad], lr=0.1)
    head(torch.randn(9, 6, generator=torch.Generator().manual_seed(0))).pow(3).sum().backward()
    optimizer.step()
    assert not torch.equal(head[-1].weight, torch.ones(EMBEDDING))
    assert torch.equal(head[-1].bias, torch.zeros(EMBEDDING))
