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
