import torch
from torch import nn

from segsweep.models.dense_aspp import RATES, DenseASPP
from segsweep.models.dilated_densenet import DilatedDenseNet


def reference_parameters(inputs: int, rates: int, classes: int) -> int:
    """Parameters of the head, counted from the paper's drawing: biases in all convolutions, normalisation after two."""
    count = 0
    for before in range(rates):
        count += (inputs + 64 * before) * 256 + 256 + 2 * 256 + 9 * 256 * 64 + 64 + 2 * 64
    return count + (inputs + 64 * rates) * classes + classes


def test_head_has_the_drawn_parameters():
    """The parameters beside the encoder's are those that the layers add up to, for either form and any number of classes."""
    with torch.device("meta"):
        for form, densenet, inputs, classes in (("denseaspp", "densenet169", 1664, 19), ("cutdenseaspp", "densenet201", 1920, 2)):
            network = DenseASPP(densenet, RATES[form], classes)
            head = [p.numel() for name, p in network.named_parameters() if not name.startswith("encoder.")]
            assert sum(head) == reference_parameters(inputs, len(RATES[form]), classes)


def test_every_atrous_convolution_sees_all_before_it():
    """Each rate occurs once, in order, and its input is the encoder's features with the outputs of all smaller rates."""
    network = DenseASPP("densenet121", RATES["denseaspp"], 2).eval()
    seen: list[tuple[int, int]] = []
    for atrous in network.aspp:
        atrous[3].register_forward_hook(lambda module, *_: seen.append((module.dilation[0], module.padding[0])))
        atrous[0].register_forward_hook(lambda module, inputs, _: seen.append((inputs[0].shape[1], module.in_channels)))
    with torch.no_grad():
        network(torch.rand(1, 3, 32, 32))
    assert seen == [pair for n, rate in enumerate((3, 6, 12, 18, 24)) for pair in ((1024 + 64 * n,) * 2, (rate, rate))]


def test_features_survive_the_heads_in_place_layers():
    """No in-place layer of the head writes into what later rates and the classifier read."""
    network = DenseASPP("densenet121", (3,), 2).eval()
    copy, images = DilatedDenseNet("densenet121").eval(), torch.rand(1, 3, 32, 32)
    copy.load_state_dict(network.encoder.state_dict())
    given: list[torch.Tensor] = []
    network.dropout.register_forward_hook(lambda _module, inputs, _output: given.append(inputs[0]))
    with torch.no_grad():
        network(images)
        assert torch.equal(given[0][:, 64:], copy(images))


def test_dropout_is_the_papers():
    """Dropout of 0.1 after every rate and before the classifier."""
    network = DenseASPP("densenet121", RATES["cutdenseaspp"], 2)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.1] * 4
