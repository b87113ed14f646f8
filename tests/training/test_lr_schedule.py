import pytest
import torch

from segsweep.training.lr_schedule import SCHEDULES, learning_rate_share


def reference(scheduler, steps: int, **options) -> list[float]:
    """Return the rates of a torch scheduler at each step, for a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made, rates = scheduler(optimizer, **options), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return rates


def shares(name: str, steps: int, warmup: float = 0.0) -> list[float]:
    return [learning_rate_share(name, step, steps, warmup) for step in range(steps)]


@pytest.mark.parametrize("steps", [10, 57])
def test_schedules_equal_torchs(steps):
    """Poly, cosine and one-cycle have the rates of torch's schedulers at every step."""
    schedulers = torch.optim.lr_scheduler
    assert shares("poly", steps) == pytest.approx(reference(schedulers.PolynomialLR, steps, total_iters=steps, power=0.9))
    assert shares("cosine", steps) == pytest.approx(reference(schedulers.CosineAnnealingLR, steps, T_max=steps), abs=1e-9)
    cycle = reference(schedulers.OneCycleLR, steps - 1, max_lr=1.0, total_steps=steps)
    assert shares("one_cycle", steps)[:-1] == pytest.approx(cycle, abs=1e-9)
    assert shares("constant", steps) == [1.0] * steps


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.99])
def test_shares_lie_between_0_and_1(name, steps, warmup):
    """At every step of every run, however short, the share is above 0 and at most 1."""
    assert all(0 < share <= 1 for share in shares(name, steps, warmup))


def test_warm_up_rises_to_the_rate_before_the_schedule():
    """During the warm-up the rate rises linearly to its full value; the schedule covers the remaining steps."""
    found = shares("poly", 20, warmup=0.2)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[4:] == pytest.approx(shares("poly", 16))
