"""k-NN evaluation of an encoder: how often the labels of nearest neighbours agree, without any training."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from segsweep.config.normalisation import Normalisation
from segsweep.models.pooled import pooled_features
from segsweep.training.batches import ImageSet, normalise
from segsweep.training.device import Device

NEIGHBOURS = 20
TEMPERATURE = 0.07
BATCH = 64  # images
MOST_KNOWN, MOST_ASKED = 10_000, 2_000  # images, evenly spaced over the sets


def knn_facts(
    encoder: nn.Module, start: nn.Module, known: ImageSet, asked: ImageSet, normalisation: Normalisation, device: Device
) -> dict[str, float]:
    """Return the k-NN accuracy of an encoder and of its initial weights, as columns of a stage's record; empty without labels.

    `knn_accuracy` and `knn_accuracy_start` are the shares of the `asked` images whose label the nearest `known` images predict,
    for `encoder` and for `start`. `knn_chance` is the share that the most frequent label predicts. An image's label is its
    stratum in the dataset. The 20 nearest images by the cosine of pooled encoder features vote, each with weight exp(cosine /
    0.07), as in Wu et al. 2018 (arXiv:1805.01978).
    """
    known, asked = known.spread(MOST_KNOWN), asked.spread(MOST_ASKED)
    labels = sorted(set(known.strata))
    if len(labels) < 2:
        return {}
    numbers, wanted = (torch.tensor([_number(each, labels) for each in image_set.strata]) for image_set in (known, asked))

    def right(network: nn.Module) -> float:
        features, questions = (features_of(network, image_set, normalisation, device) for image_set in (known, asked))
        return float((vote(features, numbers, questions, len(labels)) == wanted).float().mean())

    usual = numbers.bincount().argmax()
    return {
        "knn_accuracy": right(encoder),
        "knn_accuracy_start": right(start),
        "knn_chance": float((wanted == usual).float().mean()),
    }


def _number(label: str, labels: Sequence[str]) -> int:
    return labels.index(label) if label in labels else -1  # a label that no known image has


def vote(features_ND: Tensor, labels_N: Tensor, questions_MD: Tensor, classes: int) -> Tensor:
    """Return the labels, (M,) int64, that the nearest neighbours of M features vote for.

    Args:
        features_ND: (N, D), float32, features of the known images, L2-normalised.
        labels_N: (N,), int64, their labels 0..classes-1.
        questions_MD: (M, D), float32, features of the images to be labelled, L2-normalised.
        classes: Number of labels.
    """
    similar_MK, nearest_MK = (questions_MD @ features_ND.T).topk(min(NEIGHBOURS, len(features_ND)), dim=1)
    votes_MC = torch.zeros(len(questions_MD), classes)
    votes_MC.scatter_add_(1, labels_N[nearest_MK], (similar_MK / TEMPERATURE).exp())
    return votes_MC.argmax(dim=1)


def features_of(encoder: nn.Module, image_set: ImageSet, normalisation: Normalisation, device: Device) -> Tensor:
    """Return the L2-normalised pooled features of N images, (N, channels) float32 on the CPU. The encoder's mode is restored."""
    return nn.functional.normalize(image_features(encoder, image_set, normalisation, device), dim=1)


def image_features(encoder: nn.Module, image_set: ImageSet, normalisation: Normalisation, device: Device) -> Tensor:
    """Return the pooled features of N images, (N, channels) float32 on the CPU. The encoder's mode is restored."""
    training = encoder.training
    encoder.to(device.torch, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch's stubs lack it
    batches = np.split(np.arange(len(image_set)), range(BATCH, len(image_set), BATCH))
    with torch.inference_mode():
        parts = [
            pooled_features(encoder, normalise(images, normalisation)).float().cpu()
            for images, _ in image_set.batches(batches, device)
        ]
    encoder.train(training)
    return torch.cat(parts)
