"""Which pretrained encoder serves a U-Net best, frozen or not?

Paper: a comparison of U-Nets with ImageNet encoders on Oxford-IIIT Pet (University College London), Table 1. A plain U-Net
from scratch is the base; encoders have ImageNet weights and are frozen, VGG16 also unfrozen.

    python sweeps/encoders.py --demo                        # generated pictures; about 20 s
    python sweeps/encoders.py --data ROOT                   # the paper's limits removed, see below
    python sweeps/encoders.py --data ROOT --as-published    # the six runs of Table 1

By default every encoder is tried from ImageNet weights and from random ones, frozen and unfrozen, with the learning rate tuned
in every cell and three seeds. As published: Adam at 1e-5, 50 epochs, Dice loss, no augmentation, one seed; the best epoch by
Dice is kept (`keep=val_dice`). The paper does not say its batch size: 16. The decoders are those of
segmentation-models-pytorch, which enlarge by nearest neighbour where the paper's have transposed convolutions; its plain U-Net
has batch normalisation here (see `segsweep/models/unet.py`).
"""

from dataclasses import replace

from segsweep import LogUniform, PerCellASHA, Published, PublishedRun, Study, Target, main

TABLE_1 = {  # Dice, IoU, accuracy
    "U-Net (base)": ("unet", "random", "none", (0.8327, 0.7141, 0.8605)),
    "V-Unet": ("unet-vgg16", "imagenet", "encoder", (0.8989, 0.8167, 0.9160)),
    "V-Unet (ablated)": ("unet-vgg16", "imagenet", "none", (0.9345, 0.8773, 0.9461)),
    "D-Unet": ("unet-densenet121", "imagenet", "encoder", (0.8400, 0.7246, 0.8730)),
    "R-Unet": ("unet-resnet50", "imagenet", "encoder", (0.7569, 0.6097, 0.7858)),
    "M-Unet": ("unet-mobilenet_v2", "imagenet", "encoder", (0.8014, 0.6692, 0.9053)),
}
MEASURES = ("test_dice", "test_iou", "test_accuracy")


def table_1(note: str, instead: dict[str, str] | None = None) -> Published:
    """The published table; `instead` says what stands here for the paper's architectures and sources."""
    instead, runs = instead or {}, []
    for name, (architecture, source, freeze, numbers) in TABLE_1.items():
        cell = {"architecture": instead.get(architecture, architecture), "source": instead.get(source, source), "freeze": freeze}
        runs.append(PublishedRun(name, cell, dict(zip(MEASURES, numbers, strict=True))))
    return Published("Table 1 of the paper", runs, note)


TARGET = Target("pets", classes="foreground", protocol="60-20-20")
ENCODERS = ["unet-vgg16", "unet-densenet121", "unet-resnet50", "unet-mobilenet_v2"]

study = Study(
    name="encoders",
    target=TARGET,
    compare=[
        {"architecture": ["unet"], "source": ["random"], "freeze": ["none"]},
        {"architecture": ENCODERS, "source": ["random", "imagenet"], "freeze": ["encoder", "none"]},
    ],
    tune={"learning_rate": LogUniform(1e-6, 1e-2)},
    fixed={"image_px": 256, "epochs": 50, "batch_size": 16, "loss": "dice"},
    trials_per_cell=8,
    seeds=3,
    early_stopping=PerCellASHA(grace_epochs=5, reduction_factor=3),
    published=table_1("Here the learning rate is tuned in every cell; there it was 1e-5 throughout."),
)

as_published = Study(
    name="encoders_as_published",
    target=replace(TARGET, leakage="report"),
    compare=[
        {"architecture": ["unet"], "source": ["random"], "freeze": ["none"]},
        {"architecture": ["unet-vgg16"], "source": ["imagenet"], "freeze": ["encoder", "none"]},
        {"architecture": ENCODERS[1:], "source": ["imagenet"], "freeze": ["encoder"]},
    ],
    fixed={
        "image_px": 256,
        "epochs": 50,
        "batch_size": 16,
        "loss": "dice",
        "learning_rate": 1e-5,
        "augmentation": "none",
        "keep": "val_dice",
    },
    seeds=1,
    published=table_1("The paper does not say whether its Dice is a mean over pictures, as here, or of the whole split."),
)

NEAR = "supervised:generated_near@60"
demo = Study(
    name="encoders_demo",
    target=Target("generated_pets", protocol="70-10-20"),
    compare=[
        {"architecture": ["unet16"], "source": ["random"], "freeze": ["none"]},
        {"architecture": ["unet-mobilenet_v2"], "source": [NEAR], "freeze": ["encoder", "none"]},
        {"architecture": ["unet-tu-mobilenetv3_small_050"], "source": [NEAR], "freeze": ["encoder"]},
    ],
    fixed={
        "image_px": 32,
        "fraction": 0.1,
        "epochs": 1,
        "batch_size": 8,
        "loss": "dice",
        "learning_rate": 1e-3,
        "source_epochs": 1,
    },
    seeds=1,
    published=table_1(
        "Generated pictures, and a source trained on such in place of ImageNet: this shows what the table looks like.",
        {"unet": "unet16", "unet-resnet50": "unet-tu-mobilenetv3_small_050", "imagenet": NEAR},
    ),
)

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published)
