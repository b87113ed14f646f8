import numpy as np
import pytest
import torch

from segsweep.training.batches import IMAGENET, epoch_batches, normalisation_of, normalise


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 12, 13])
@pytest.mark.parametrize("batch_size", [2, 4, 8])
def test_every_image_occurs_once_and_never_alone(count, batch_size):
    """An epoch has every image once, in full batches except the last; a last batch of one image is merged into another."""
    batches = epoch_batches(count, batch_size, seed=0, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    sizes = [len(batch) for batch in batches]
    full, rest = divmod(count, batch_size)
    expected = [batch_size] * full + [rest] * (rest > 0)
    if rest == 1 and full:
        expected = [*[batch_size] * (full - 1), batch_size + 1]
    assert sizes == expected


def test_order_depends_only_on_seed_and_epoch():
    """The same seed and epoch give the same order, others another one, and numpy's global random state is not used."""

    def order(seed, epoch):
        return np.concatenate(epoch_batches(40, 8, seed, epoch)).tolist()

    np.random.seed(0)  # noqa: NPY002
    first = order(1, 2)
    np.random.seed(1)  # noqa: NPY002
    assert order(1, 2) == first
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_batches_hold_the_images_of_the_members(cpu, image_set):
    """Positions refer to the members: images (B, 3, H, W) uint8, channels last, and masks (B, H, W) int64."""
    shown = image_set(8)
    part = type(shown)(shown.data, np.array([6, 1, 4]))
    (images, masks), (last, _) = part.batches([np.array([2, 0]), np.array([1])], cpu)
    assert images.dtype == torch.uint8
    assert masks.dtype == torch.int64
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), shown.data.images[[4, 6]])
    assert np.array_equal(masks.numpy(), shown.data.masks[[4, 6]])
    assert np.array_equal(last.permute(0, 2, 3, 1).numpy(), shown.data.images[[1]])


def test_normalise_uses_imagenets_mean_and_deviation():
    """Bytes become (value / 255 - mean) / deviation per channel, in float32 and channels last."""
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    found = normalise(images)
    expected = (images.permute(0, 2, 3, 1).numpy() / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_own_normalisation_gives_mean_0_and_deviation_1(cpu, image_set):
    """With `own`, the training images have mean 0 and deviation 1 in every channel after normalisation, however few they are."""
    shown = type(image_set(8))(image_set(8).data, np.array([6, 1, 4]))
    images = torch.cat([images for images, _ in shown.batches([np.arange(3)], cpu)])
    found = normalise(images, normalisation_of("own", shown)).double()
    assert found.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (found.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert normalisation_of("imagenet", shown) == IMAGENET


def test_first_limits_the_images(image_set):
    """`first` keeps the first images, at most all of them; None keeps all."""
    assert [len(image_set(6).first(count)) for count in (2, 6, 9, None)] == [2, 6, 6, 6]
    assert image_set(6).first(2).members.tolist() == [0, 1]
