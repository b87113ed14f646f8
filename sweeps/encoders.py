"""Which pretrained encoder serves a U-Net best, frozen or not?

Paper: a comparison of U-Nets with ImageNet encoders on Oxford-IIIT Pet (University College London), Table 1. The base is a plain
U-Net from scratch; encoders have ImageNet weights and are frozen, VGG16 also unfrozen.

    python sweeps/encoders.py --demo                        # generated images; about 20 s
    python sweeps/encoders.py --data ROOT                   # without the paper's limits, see below
    python sweeps/encoders.py --data ROOT --as-published    # the six runs of Table 1

By default every encoder starts from ImageNet weights and from random weights, frozen and unfrozen. The learning rate is tuned in
every cell and confirmed with three seeds. As published: one logit with a sigmoid, Adam at 1e-5, 50 epochs, Dice loss, one seed;
the epoch with the best Dice is kept (`keep=val_dice`). The paper's table lists "the best result (with highest DICE) in 50 epochs"
on validation data, so the validation scores of this study stand beside it.

Deviations from the paper:

- The paper uses a simplified copy of pets with 2,210/738/738 images; here the official trainval is divided into 2,208/736/736
  images, which are resized to 256 px with the trimap's border as foreground, and duplicates stay where they are.
- Its pretrained encoders are those of Keras; here they are torchvision's networks and weights, each with its own input
  normalisation. The input normalisation of the paper is not stated.
- Its expanding path is the plain U-Net's, with transposed convolutions. The decoders on pretrained encoders are
  segmentation-models-pytorch's here: five blocks of 256 to 16 channels with batch normalisation, enlarging by nearest neighbour.
- The batch size is not stated; here 16. Augmentation is not stated; here none. Initial weights of the layers that are not
  pretrained are not stated; here He's, and Xavier's in the last layer of the decoders.
- Over what Dice and IoU are averaged, and whether of probabilities or masks, is not stated. In its table IoU is Dice / (2 - Dice)
  within 0.001, so they are not means over single images. Here Dice is the mean over images, IoU of the whole split's counts, both
  of masks.
- A frozen encoder normalises by fixed statistics, as Keras' `trainable=False` does (`frozen_norm=eval`); Adam's epsilon is
  PyTorch's 1e-8.
"""

from dataclasses import replace

from segsweep import LogUniform, PerCellRacing, Published, PublishedRun, Study, Target, deviations_in, main

TABLE_1 = {  # Dice, IoU, accuracy
    "U-Net (base)": ("unet", "random", "none", (0.8327, 0.7141, 0.8605)),
    "V-Unet": ("unet-vgg16", "imagenet", "encoder", (0.8989, 0.8167, 0.9160)),
    "V-Unet (ablated)": ("unet-vgg16", "imagenet", "none", (0.9345, 0.8773, 0.9461)),
    "D-Unet": ("unet-densenet121", "imagenet", "encoder", (0.8400, 0.7246, 0.8730)),
    "R-Unet": ("unet-resnet50", "imagenet", "encoder", (0.7569, 0.6097, 0.7858)),
    "M-Unet": ("unet-mobilenet_v2", "imagenet", "encoder", (0.8014, 0.6692, 0.9053)),
}
MEASURES = ("val_dice", "val_iou", "val_accuracy")  # the paper reports scores on its validation images


def table_1(note: str, instead: dict[str, str] | None = None) -> Published:
    """Return the published table; `instead` maps the paper's architectures and sources to those that replace them here."""
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
    early_stopping=PerCellRacing(),
    published=table_1("Here the learning rate is tuned in every cell; in the paper it is always 1e-5."),
)

as_published = Study(
    name="encoders_as_published",
    target=replace(TARGET, leakage="report"),
    compare=[
        {"architecture": ["unet_no_norm"], "source": ["random"], "freeze": ["none"]},
        {"architecture": ["unet-vgg16"], "source": ["imagenet"], "freeze": ["encoder", "none"]},
        {"architecture": ENCODERS[1:], "source": ["imagenet"], "freeze": ["encoder"]},
    ],
    fixed={
        "image_px": 256,
        "epochs": 50,
        "batch_size": 16,
        "loss": "dice",
        "output": "sigmoid",
        "learning_rate": 1e-5,
        "augmentation": "none",
        "keep": "val_dice",
    },
    seeds=1,
    published=replace(table_1("", {"unet": "unet_no_norm"}), deviations=deviations_in(__doc__)),
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
        "Generated images, which also train the source in place of ImageNet: this demo shows the form of the table.",
        {"unet": "unet16", "unet-resnet50": "unet-tu-mobilenetv3_small_050", "imagenet": NEAR},
    ),
)

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published)
