import os

import pytest
import torch

from segsweep.errors import UserError
from segsweep.training.device import WORKSPACE, Device, choose_device, resolve_precision, switches_restored


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_only_with_hardware_support(native, expected, monkeypatch):
    """A GPU that emulates bfloat16, which is slow, uses float32; an explicit precision is kept."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    device = Device("cuda", 1)
    assert resolve_precision("auto", device) == expected
    assert resolve_precision("bfloat16", device) == "bfloat16"
    assert resolve_precision("auto", Device("cpu", 1)) == "float32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_float32_is_computed_in_full_on_a_gpu():
    """After the set-up of the device, a float32 convolution is as exact as on the CPU, which TF32 is not."""
    device = Device("cuda", 1)
    device.set_up()
    chance = torch.Generator().manual_seed(0)
    images, weights = torch.randn(4, 64, 32, 32, generator=chance), torch.randn(64, 64, 3, 3, generator=chance)
    exact = torch.nn.functional.conv2d(images.double(), weights.double())
    found = torch.nn.functional.conv2d(images.to(device.torch), weights.to(device.torch)).cpu().double()
    assert float((found - exact).norm() / exact.norm()) < 1e-5


@pytest.fixture
def workspace(monkeypatch):
    """Remove cuBLAS's setting from the environment, and restore torch's switches after the test."""
    monkeypatch.setenv(WORKSPACE, "")  # so that what a test sets is undone
    monkeypatch.delenv(WORKSPACE)
    with switches_restored():
        yield


@pytest.mark.usefixtures("workspace")
def test_a_deterministic_device_switches_determinism_on():
    """The label ends with the mode; the set-up switches on deterministic algorithms, for such a device only."""
    plain, device = (choose_device("cpu", 1, deterministic=chosen) for chosen in (False, True))
    assert (plain.label, device.label) == ("cpu x1", "cpu x1, deterministic")
    plain.set_up()
    assert not torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = True
    with switches_restored():
        device.set_up()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    assert WORKSPACE not in os.environ  # which a CPU does not need


@pytest.mark.usefixtures("workspace")
def test_cublas_is_configured_before_cuda_starts(monkeypatch):
    """A deterministic GPU sets cuBLAS's workspace, keeps an allowed setting, and refuses other settings and a late start."""
    device, started = Device("cuda", 1, deterministic=True), False
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    device.set_up()
    assert os.environ[WORKSPACE] == ":4096:8" == device.environment[WORKSPACE]
    monkeypatch.setenv(WORKSPACE, ":16:8")
    device.set_up()
    assert os.environ[WORKSPACE] == ":16:8"
    monkeypatch.setenv(WORKSPACE, ":8:8")
    with pytest.raises(UserError, match="CUBLAS_WORKSPACE_CONFIG=:8:8; allowed are :4096:8, :16:8"):
        device.set_up()
    monkeypatch.delenv(WORKSPACE)
    started = True
    with pytest.raises(UserError, match="CUDA has started in this process already; set CUBLAS_WORKSPACE_CONFIG=:4096:8"):
        device.set_up()
    Device("cuda", 1).set_up()
    assert not Device("cuda", 1).environment
    assert not Device("cpu", 1, deterministic=True).environment
