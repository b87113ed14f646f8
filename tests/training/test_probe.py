from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from segsweep.training.batches import IMAGENET
from segsweep.training.probe import NEIGHBOURS, TEMPERATURE, features_of, knn_facts, vote


class Means(nn.Module):
    """An encoder whose features are the means of the image, or the same for all images."""

    def __init__(self, blind: bool = False) -> None:
        super().__init__()
        self.blind = blind

    def forward(self, images):
        return [torch.ones_like(images) if self.blind else images]


@pytest.fixture
def labelled(image_set):
    """Return images of two kinds that differ in brightness, alternating."""
    whole = image_set(40)
    kinds = np.arange(40) % 2
    images = np.where(kinds[:, None, None, None] == 1, 200, 20).astype(np.uint8) + (whole.data.images // 20)
    images[..., 0] //= np.where(kinds == 1, 1, 2).astype(np.uint8)[:, None, None]
    data = replace(whole.data, images=images, strata=[f"kind {kind}" for kind in kinds])
    return [replace(whole, data=data, members=part) for part in np.split(whole.members, [30])]


def test_votes_equal_an_independent_implementation():
    """The winning label of weighted neighbours is that of scikit-learn's classifier with the same weights."""
    rng = np.random.default_rng(0)
    features, questions = rng.normal(size=(200, 6)), rng.normal(size=(50, 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    questions /= np.linalg.norm(questions, axis=1, keepdims=True)
    labels = rng.integers(3, size=200)
    reference = KNeighborsClassifier(
        NEIGHBOURS, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / TEMPERATURE)
    )
    expected = reference.fit(features, labels).predict(questions)
    found = vote(torch.from_numpy(features).float(), torch.from_numpy(labels), torch.from_numpy(questions).float(), 3)
    assert found.tolist() == expected.tolist()


def test_informative_features_score_higher_than_constant_ones(labelled, cpu):
    """Features that separate the labels give 1; features that are equal for all images give chance level."""
    facts = knn_facts(Means(), Means(blind=True), *labelled, IMAGENET, cpu)
    assert facts["knn_accuracy"] == 1
    assert facts["knn_accuracy_start"] == pytest.approx(0.5, abs=0.01)
    assert facts["knn_chance"] == pytest.approx(0.5, abs=0.01)


def test_without_labels_there_are_no_facts(image_set, cpu):
    """If all images have one label, the facts are empty."""
    assert knn_facts(Means(), Means(), image_set(6), image_set(4), IMAGENET, cpu) == {}


def test_labels_of_no_known_image_count_as_wrong(labelled, cpu):
    """A held-out image with an unknown label cannot be predicted correctly."""
    known, asked = labelled
    strange = replace(asked, data=replace(asked.data, strata=["unheard of"] * 40))
    assert knn_facts(Means(), Means(), known, strange, IMAGENET, cpu)["knn_accuracy"] == 0


def test_features_are_pooled_normalised_and_leave_the_mode(labelled, cpu):
    """Features are unit vectors, one per image, and the encoder's mode is restored."""
    encoder = Means().train()
    features = features_of(encoder, labelled[0], IMAGENET, cpu)
    assert features.shape == (30, 3)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(30))
    assert encoder.training
