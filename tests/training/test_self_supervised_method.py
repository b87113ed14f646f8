"""A second self-supervised method is one file and one row: here those of a toy."""

import pytest
import torch
from contracts.self_supervised import SelfSupervisedContract

from segsweep.config.stage_kinds import STAGE_KINDS, StageKind


@pytest.fixture(autouse=True)
def _toy_row(monkeypatch):
    row = StageKind("toy", "dataset", encoder_only=True, method="contracts.toy_method")
    monkeypatch.setitem(STAGE_KINDS, row.name, row)


class TestToyMethod(SelfSupervisedContract):
    """The toy does what every self-supervised method must do; the reference is the formula of the cross-entropy."""

    kind = "toy"
    better_by = 0.2
    epochs = 9

    def reference(self, output, count, recipe):  # noqa: ARG002
        probabilities = output.exp() / output.exp().sum(dim=1, keepdim=True)
        return -torch.cat([probabilities[:count, 0], probabilities[count:, 1]]).log().mean()
