import pytest
import torch

from segsweep.models.architectures import build_model
from segsweep.training.optimiser import build_optimizer


@pytest.mark.parametrize("architecture", ["unet16", "segformer-mit_b0"])
def test_adamw_decays_only_weights(recipe, architecture):
    """With zero gradients, a step multiplies weights by 1 - rate x decay, and leaves biases and normalisation unchanged."""
    model = build_model(architecture, 2, seed=0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, recipe(optimizer="adamw", weight_decay=0.5, learning_rate=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {name: parameter.detach() / before[name] for name, parameter in model.named_parameters() if before[name].all()}
    still = {name for name, ratio in moved.items() if torch.equal(ratio, torch.ones_like(ratio))}
    norms = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        for part in ("weight", "bias")
    }
    assert still == {name for name in moved if name.endswith("bias") or name in norms}
    assert all(torch.allclose(ratio, torch.full_like(ratio, 0.95)) for name, ratio in moved.items() if name not in still)
    assert {name for name, value in model.named_parameters() if not torch.equal(value, before[name])} <= moved.keys() - still
