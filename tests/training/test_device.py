import pytest
import torch

from segsweep.training.device import Device, resolve_precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_only_where_a_gpu_computes_in_it(native, expected, monkeypatch):
    """A GPU that emulates bfloat16, which is slow, computes in float32; what is asked for by name stays."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    device = Device("cuda", 1)
    assert resolve_precision("auto", device) == expected
    assert resolve_precision("bfloat16", device) == "bfloat16"
    assert resolve_precision("auto", Device("cpu", 1)) == "float32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_float32_is_computed_in_full_on_a_gpu():
    """After the device is set up a convolution in float32 is as exact as on the CPU, which TF32 would not be."""
    device = Device("cuda", 1)
    device.set_up()
    chance = torch.Generator().manual_seed(0)
    images, weights = torch.randn(4, 64, 32, 32, generator=chance), torch.randn(64, 64, 3, 3, generator=chance)
    exact = torch.nn.functional.conv2d(images.double(), weights.double())
    found = torch.nn.functional.conv2d(images.to(device.torch), weights.to(device.torch)).cpu().double()
    assert float((found - exact).norm() / exact.norm()) < 1e-5
