"""bfloat16 against float32 on the device: whole curves."""

from collections.abc import Iterator

from gpu.drawn import draw_sets
from gpu.place import Place
from gpu.rows import Row, at_most, note
from gpu.runs import Run, recipe_of

NETWORKS = ("unet16", "unet-mobilenet_v2", "unet-vgg16", "deeplabv3-resnet50", "denseaspp-densenet121", "segformer-mit_b0")
LOSSES = ("dice", "jaccard", "focal", "lovasz", "bce")
LOSS_TOLERANCE = 0.1  # of the first epochs' mean training loss, relative
IOU_TOLERANCE = 0.03


def networks(place: Place) -> Iterator[Row]:
    """Every kind of network with cross-entropy."""
    for name in place.size(NETWORKS, NETWORKS[:1]):
        yield from _compare(place, name, "cross_entropy")


def losses(place: Place) -> Iterator[Row]:
    """Every other loss with a small U-Net: losses are computed from logits in bfloat16 that are widened to float32."""
    for loss in place.size(LOSSES, LOSSES[:1]):
        yield from _compare(place, "unet16", loss)


def _compare(place: Place, name: str, loss: str) -> Iterator[Row]:
    sets = draw_sets(place.size(256, 8), place.size(64, 4), place.size(64, 32))
    results = {}
    for precision in ("float32", "bfloat16"):
        recipe = recipe_of(place.size(5, 1), precision=precision, loss=loss, batch_size=place.size(16, 4))
        results[precision] = Run(name, sets, recipe, place.device, place.folder / f"{name}-{loss}-{precision}").go()
    full, half = results["float32"], results["bfloat16"]
    means = [sum(each.train_loss for each in results) / len(results) for results in (full, half)]
    yield at_most(
        f"{name}, {loss}: relative difference of mean training loss", abs(means[0] - means[1]) / means[0], LOSS_TOLERANCE
    )
    yield at_most(f"{name}, {loss}: difference of best IoU", abs(_best(full) - _best(half)), IOU_TOLERANCE)
    yield note(f"{name}, {loss}: last validation loss float32 / bfloat16", f"{full[-1].val_loss:.4f} / {half[-1].val_loss:.4f}")


def _best(results: list) -> float:
    return max(each.val.iou for each in results)


CHECKS = (networks, losses)
