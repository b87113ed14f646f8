"""The stem of ResNets for small images: one 3x3 convolution at stride 1 and no max-pooling.

SimCLR uses this stem on CIFAR-10 (Chen et al. 2020, arXiv:2002.05709, appendix B.9):
https://github.com/google-research/simclr/blob/be265c2266ba20ed5a6eb8fdb80817f591c8625f/tf2/model.py (`cifar_stem`). The usual
stem reduces images by a factor of four, so that an image of 32 px has a single position at the deepest level.
"""

import torch
from torch import nn

from segsweep.config.digest import seed_for
from segsweep.models.encoder_name import resnet_stem


def use_small_stem(encoder: nn.Module, name: str, seed: int) -> nn.Module:
    """Replace the stem of a ResNet by that for small images, with random weights that depend on the seed only, and return it.

    `name` is the encoder's name by `encoder_name`. The output stride becomes 8. The names of the weights do not change; the
    weight of the first convolution becomes (out, 3, 3, 3).
    """
    convolution, _ = resnet_stem(name)
    inside, _, attribute = convolution.rstrip(".").rpartition(".")
    network = encoder.get_submodule(inside)
    usual = network.get_submodule(attribute)
    assert isinstance(usual, nn.Conv2d)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("small stem", seed))
        small = nn.Conv2d(usual.in_channels, usual.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")  # the initialisation of ResNets
    setattr(network, attribute, small)
    network.maxpool = nn.Identity()
    return encoder
