"""Does SimCLR on a near or a far source help, as fewer images of the target are labelled?

Paper: "Semantic Segmentation of Images using Self-supervised Learning" (anonymous author), Table 4.1. SimCLR trains the encoder
of a U-Net on ResNet-50 with CIFAR-10 or with photos of cats and dogs; the baseline has no such training. The target is
Oxford-IIIT Pet: 20 % of all images are held out for the test, and 80, 50 or 20 % of all are used for training and validation.

    python sweeps/self_supervised.py --demo                        # generated images; about 20 s
    python sweeps/self_supervised.py --data ROOT                   # without the paper's limits, see below
    python sweeps/self_supervised.py --data ROOT --as-published    # the nine runs of Table 4.1
    python sweeps/self_supervised.py --data ROOT --preset laptop   # real images on two cores, without published weights

By default both sources are limited to the same number of images and train for the same number of steps, from ImageNet weights
and from random weights, at two temperatures (the paper suggests more than one temperature, and more than 20 epochs). The
learning rate is tuned in every cell and confirmed with three seeds. Every share trains on nine tenths of its images, as in the
paper. All shares validate on the same tenth of the images that do not test (8 % of all), so that the curves over the share do
not depend on other validation images. As published, each share is divided 90:10 (`holdout-20-own-val`, with the same test
images): 20 epochs of SimCLR from ImageNet weights on all images of a source; U-Net decoder, one logit and binary cross-entropy,
Adam at 1e-4, 60 epochs; the epoch with the lowest validation loss is kept.

Deviations from the paper:

- A tenth of a source's images is held out from SimCLR to measure it: it trains on 54,000 of CIFAR-10's 60,000, and on nine
  tenths of the photos of cats and dogs.
- The initial weights of the baseline's encoder are not stated; here ImageNet's, as for SimCLR.
- SimCLR's batch size, optimiser, temperature, projection width and stem are not stated; here those of SimCLR's own paper for
  ImageNet: LARS at 0.3 for 256 images, weight decay 1e-6, a tenth of warm-up, cosine, temperature 0.1, 128 numbers, and ResNet's
  usual stem. "Gaussian Deblur" is read as its blur.
- The sizes of images are not stated; here 256 px, and CIFAR-10's own 32 px for SimCLR.
- Batch size and augmentation of fine-tuning are not stated; here 16 and none. Input normalisation is not stated; here that of the
  ImageNet weights.
- The number of output channels is not stated; here one logit with a sigmoid, which binary cross-entropy suggests.
- The decoder is "the decoder of the U-Net"; here segmentation-models-pytorch's, which enlarges by nearest neighbour and has batch
  normalisation.
- Which images are tested is not stated; here 20 % of all at random, stratified by breed. The trimap's border is foreground, and
  duplicates stay where they are.
- Over what losses are averaged, and the focal loss's gamma and balance, are not stated; here means over images, gamma 2 and no
  balance.
"""

from dataclasses import replace

from segsweep import LogUniform, PerCellRacing, Published, PublishedRun, Study, Target, deviations_in, main

FAR, NEAR = "imagenet+simclr:cifar10", "imagenet+simclr:cats_dogs"
TABLE_4_1 = {  # IoU, F1, Dice loss, focal loss, BCE, recall, accuracy
    ("baseline", "imagenet", 0.2): (0.758, 0.862, 0.150, 0.292, 0.369, 0.867, 0.893),
    ("baseline", "imagenet", 0.5): (0.828, 0.906, 0.110, 0.179, 0.243, 0.904, 0.925),
    ("baseline", "imagenet", 0.8): (0.906, 0.951, 0.060, 0.108, 0.144, 0.942, 0.961),
    ("CIFAR-10", FAR, 0.2): (0.754, 0.860, 0.150, 0.306, 0.383, 0.871, 0.890),
    ("CIFAR-10", FAR, 0.5): (0.852, 0.920, 0.091, 0.214, 0.261, 0.903, 0.935),
    ("CIFAR-10", FAR, 0.8): (0.900, 0.947, 0.066, 0.109, 0.149, 0.937, 0.958),
    ("Cats&Dogs", NEAR, 0.2): (0.759, 0.863, 0.148, 0.295, 0.371, 0.867, 0.892),
    ("Cats&Dogs", NEAR, 0.5): (0.843, 0.915, 0.099, 0.184, 0.239, 0.909, 0.932),
    ("Cats&Dogs", NEAR, 0.8): (0.902, 0.948, 0.064, 0.130, 0.167, 0.929, 0.958),
}
MEASURES = ("test_iou", "test_f1", "test_dice_loss", "test_focal_loss", "test_bce", "test_recall", "test_accuracy")


def table_4_1(note: str, instead: dict[str, str] | None = None) -> Published:
    """Return the published table; `instead` maps the paper's sources to those that replace them here."""
    instead, runs = instead or {}, []
    for (name, source, share), numbers in TABLE_4_1.items():
        cell = {"source": instead.get(source, source), "dev_share": share}
        runs.append(PublishedRun(f"{name} {share:.0%}", cell, dict(zip(MEASURES, numbers, strict=True))))
    return Published("Table 4.1 of the paper", runs, note)


TARGET = Target("pets", classes="foreground", protocol="holdout-20")
SHARES = [0.2, 0.5, 0.8]
SETTINGS = {"architecture": "unet-resnet50", "image_px": 256, "loss": "bce", "epochs": 60, "batch_size": 16}

study = Study(
    name="self_supervised",
    target=TARGET,
    compare=[
        {"source": ["random", "imagenet"], "dev_share": SHARES},
        {
            "source": [f"{start}simclr:{name}@20000" for start in ("", "imagenet+") for name in ("cifar10", "cats_dogs")],
            "dev_share": SHARES,
            "ssl_temperature": [0.1, 0.5],
        },
    ],
    tune={"learning_rate": LogUniform(1e-5, 1e-2)},
    fixed={**SETTINGS, "ssl_steps": 8000, "ssl_batch_size": 256, "source_image_px": 128},
    trials_per_cell=8,
    seeds=3,
    early_stopping=PerCellRacing(),
    published=table_4_1(
        "Here, unless narrowed, sources have 20,000 images at 128 px and the rate is tuned; the lower temperature is shown.",
        {FAR: f"{FAR}@20000", NEAR: f"{NEAR}@20000"},
    ),
)

as_published = Study(
    name="self_supervised_as_published",
    target=replace(TARGET, protocol="holdout-20-own-val", leakage="report"),
    compare=[
        {"source": ["imagenet", NEAR], "dev_share": SHARES},
        {"source": [FAR], "dev_share": SHARES, "source_image_px": [32]},
    ],
    fixed={
        **SETTINGS,
        "augmentation": "none",
        "output": "sigmoid",
        "learning_rate": 1e-4,
        "keep": "val_loss",
        "source_split": "all",
        "ssl_epochs": 20,
        "ssl_batch_size": 256,
        "ssl_optimizer": "lars",
        "ssl_learning_rate": 0.3,
        "ssl_stem": "usual",
    },
    seeds=1,
    published=replace(table_4_1(""), deviations=deviations_in(__doc__)),
)

DEMO_FAR, DEMO_NEAR = "simclr:generated_far@120", "simclr:generated_near@120"
demo = Study(
    name="self_supervised_demo",
    target=Target("generated_pets", protocol="holdout-20"),
    compare={"source": ["random", DEMO_FAR, DEMO_NEAR], "dev_share": [0.05, 0.2]},
    fixed={
        "architecture": "unet16",
        "image_px": 32,
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "loss": "bce",
        "ssl_epochs": 2,
        "ssl_batch_size": 32,
    },
    seeds=1,
    published=table_4_1(
        "Generated images, and two epochs of SimCLR: this demo shows the form of the table.",
        {"imagenet": "random", FAR: DEMO_FAR, NEAR: DEMO_NEAR},
    ),
)

presets = {
    "laptop": [
        "source=random,simclr:cifar10,simclr:cats_dogs",
        "architecture=unet-resnet18",
        "image_px=64",
        "source_image_px=32",
        "ssl_stem=usual",  # the stem for small images takes 16 times as long
        "epochs=8",
        "learning_rate=1e-3",
        "ssl_epochs=30",
        "ssl_batch_size=64",
        "ssl_temperature=0.2",
        "seeds=2",
    ],
}

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published, presets=presets)
