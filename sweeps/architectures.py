"""How do FCN, DeepLabV3, DenseASPP and a cut-down DenseASPP compare under transfer to pets?

Paper: "Comparing Transfer Learning approaches for Neural Networks in Semantic Segmentation" (University of Padova), Tables 1
and 2. Oxford-IIIT Pet with the trimap's three classes, official trainval for training, test halved; the encoder frozen.

    python sweeps/architectures.py --demo                           # generated pictures; about 20 s
    python sweeps/architectures.py --data ROOT                      # the paper's limits removed, see below
    python sweeps/architectures.py --data ROOT --as-published       # the six runs of Table 2
    python sweeps/architectures.py --data ROOT --preset laptop      # real pictures on two cores, without published weights

By default every architecture starts from the same two sources (ImageNet weights, and these trained on PASCAL VOC), is tried
frozen and unfrozen, with the learning rate tuned in every cell and three seeds. As published, FCN and DeepLabV3 start from
torchvision's COCO weights, the others from heads trained on VOC or ADE20K; each training picture comes twice, once augmented;
images are normalised by the training set's own mean and deviation; at most 10 epochs, with early stopping on validation loss.

Deviations from the paper:

- Its heads' VOC is the augmented one; here it is the official set (1,464 training images).
- How its heads were trained on VOC and ADE20K is not said. Here the whole network is trained from ImageNet weights for 10 epochs
  by the recipe below, with flips, the set's own mean and deviation, and the epoch of the lowest validation loss kept.
- The optimiser of FCN and DeepLabV3 is not said; here Adam at 1e-3. DenseASPP's "follows the same procedure as in the original
  paper": Adam at 3e-4, weight decay 1e-5, poly.
- The loss is not said; here cross-entropy. The batch size is not said; here 8, DenseASPP's.
- The patience of early stopping and the epoch that is kept are not said; here 3 epochs, and that of the lowest validation loss.
- Its models come from PyTorch, and whether the frozen backbone was put in eval mode is not said. Here, as where requires_grad
  alone is set to False, it normalises by the batch and its statistics move (`frozen_norm=train`).
- FCN is said to enlarge by transposed convolutions; torchvision's, whose parameter count is the paper's, does so bilinearly. Its
  auxiliary classifier is left out, as in that count.
- Whether the augmented copies were drawn once or anew in every epoch is not said; here anew. What rotation leaves empty is black,
  and ignored in the mask.
- How the test set was halved is not said; here at random, stratified by breed. Duplicates stay where they are.
- How its mean IoU is weighted is not said; here by the classes' shares of the true pixels.
- What its prediction time covers is not said, and it is another machine's; here forward passes and arg-max over the test split.
"""

from dataclasses import replace

from segsweep import LogUniform, PerCellRacing, Published, PublishedRun, Study, Target, deviations_in, main

VOC, ADE20K = "imagenet+supervised:voc2012", "imagenet+supervised:ade20k"
TABLE_2 = {  # pixel accuracy, weighted mIoU, test prediction time in seconds
    "FCN": ("fcn-resnet50", "coco-weights", (0.887, 0.805, 36.784)),
    "DeepLabV3": ("deeplabv3-resnet50", "coco-weights", (0.894, 0.817, 47.600)),
    "DenseASPP1": ("denseaspp-densenet121", VOC, (0.917, 0.854, 27.626)),
    "DenseASPP2": ("denseaspp-densenet121", ADE20K, (0.916, 0.853, 28.567)),
    "CutDenseASPP1": ("cutdenseaspp-densenet161", VOC, (0.902, 0.831, 57.061)),
    "CutDenseASPP2": ("cutdenseaspp-densenet161", ADE20K, (0.906, 0.838, 56.600)),
}
MEASURES = ("test_accuracy", "test_weighted_iou", "predict_seconds")


def table_2(note: str, instead: dict[str, str] | None = None) -> Published:
    """The published table; `instead` says what stands here for the paper's architectures and sources."""
    instead, runs = instead or {}, []
    for name, (architecture, source, numbers) in TABLE_2.items():
        source = instead.get(source, source)
        cell = {"architecture": instead.get(architecture, architecture), "source": source, "freeze": "encoder"}
        runs.append(PublishedRun(name, cell, dict(zip(MEASURES, numbers, strict=True))))
    return Published("Table 2 of the paper", runs, note)


TARGET = Target("pets", classes="trimap", protocol="50-25-25")
SETTINGS = {
    "transfer": "all-but-classifier",
    "image_px": 256,
    "epochs": 10,
    "batch_size": 8,
    "augmentation": "rotate_flip_jitter_blur",
    "augmented_copies": 1,
    "normalisation": "own",
    "patience_epochs": 3,
    "source_augmentation": "flip",
}

study = Study(
    name="architectures",
    target=TARGET,
    compare={
        "architecture": ["fcn-resnet50", "deeplabv3-resnet50", "denseaspp-densenet121", "cutdenseaspp-densenet161"],
        "source": ["imagenet", VOC],
        "freeze": ["encoder", "none"],
    },
    tune={"learning_rate": LogUniform(1e-5, 1e-2)},
    fixed={**SETTINGS, "schedule": "poly"},
    trials_per_cell=8,
    seeds=3,
    early_stopping=PerCellRacing(),
    published=table_2("Here FCN and DeepLabV3 start from ImageNet weights trained on VOC too.", {"coco-weights": VOC}),
)

as_published = Study(
    name="architectures_as_published",
    target=replace(TARGET, leakage="report"),
    compare=[
        {
            "architecture": ["fcn-resnet50", "deeplabv3-resnet50"],
            "source": ["coco-weights"],
            "learning_rate": [1e-3],
        },
        {
            "architecture": ["denseaspp-densenet121", "cutdenseaspp-densenet161"],
            "source": [VOC, ADE20K],
            "learning_rate": [3e-4],
            "source_learning_rate": [3e-4],
            "weight_decay": [1e-5],
            "schedule": ["poly"],
        },
    ],
    fixed={**SETTINGS, "freeze": "encoder", "frozen_norm": "train", "keep": "val_loss"},
    seeds=1,
    published=replace(table_2(""), deviations=deviations_in(__doc__)),
)

demo = Study(
    name="architectures_demo",
    target=Target("generated_pets", classes="trimap", protocol="70-10-20"),
    compare={"architecture": ["fcn-resnet50", "deeplabv3-mobilenet_v3_large", "denseaspp-densenet121"]},
    fixed={**SETTINGS, "source": "random", "freeze": "encoder", "image_px": 32, "fraction": 0.02, "epochs": 1},
    seeds=1,
    published=table_2(
        "Generated pictures, random encoders, and a smaller DeepLabV3: this shows what the table looks like.",
        {"deeplabv3-resnet50": "deeplabv3-mobilenet_v3_large", "coco-weights": "random", VOC: "random", ADE20K: ""},
    ),
)

presets = {
    "laptop": [
        "source=random,supervised:coco",
        "freeze=encoder",
        "image_px=64",
        "epochs=3",
        "learning_rate=1e-3",
        "seeds=2",
    ],
}

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published, presets=presets)
