"""How do FCN, DeepLabV3, DenseASPP and a cut-down DenseASPP compare after transfer to pets?

Paper: "Comparing Transfer Learning approaches for Neural Networks in Semantic Segmentation" (University of Padova), Tables 1
and 2. Target: Oxford-IIIT Pet with the trimap's three classes, trained on the official trainval split, tested on half of the
official test split. Encoders are frozen.

    python sweeps/architectures.py --demo                           # generated images; about 20 s
    python sweeps/architectures.py --data ROOT                      # without the paper's limits, see below
    python sweeps/architectures.py --data ROOT --as-published       # the six runs of Table 2
    python sweeps/architectures.py --data ROOT --preset laptop      # real images on two cores, without published weights

By default every architecture starts from the same two sources (ImageNet weights, and ImageNet weights trained on PASCAL VOC),
with a frozen and a trained encoder. The learning rate is tuned in every cell and confirmed with three seeds. As published, FCN
and DeepLabV3 start from torchvision's COCO weights, the other architectures from heads trained on VOC or ADE20K. Each epoch
shows a training image twice, once augmented; the training set's own mean and deviation normalise the images; a run has at most
10 epochs and stops early on validation loss.

Deviations from the paper:

- The paper trains its heads on the augmented VOC; here it is the official set (1,464 training images).
- How its heads were trained on VOC and ADE20K is not stated. Here the whole network is trained from ImageNet weights for 10
  epochs by the recipe below, with flips and the set's own mean and deviation, and the epoch with the lowest validation loss is
  kept.
- The optimiser of FCN and DeepLabV3 is not stated; here Adam at 1e-3. DenseASPP "follows the same procedure as in the original
  paper": Adam at 3e-4, weight decay 1e-5, poly.
- The loss is not stated; here cross-entropy. The batch size is not stated; here 8, as in DenseASPP's paper.
- The patience of early stopping and the kept epoch are not stated; here 3 epochs, and the epoch with the lowest validation loss.
- The paper's models are PyTorch's; whether its frozen backbone is in eval mode is not stated. Here the backbone normalises by the
  batch and updates its statistics (`frozen_norm=train`), as in a script that only sets requires_grad to False.
- The paper describes an FCN with transposed convolutions; torchvision's FCN, which has the paper's number of parameters, enlarges
  bilinearly. Its auxiliary classifier is left out, as in that number.
- Whether the augmented copies are drawn once or in every epoch is not stated; here in every epoch. Pixels that rotation leaves
  empty are black, and ignored in the mask.
- How the test set is halved is not stated; here at random, stratified by breed. Duplicates stay where they are.
- How its mean IoU is weighted is not stated; here by the classes' shares of the true pixels.
- What its prediction time covers is not stated, and the machine differs; here forward passes and arg-max over the test split.
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
    """Return the published table; `instead` maps the paper's architectures and sources to those that replace them here."""
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
    published=table_2("Here FCN and DeepLabV3, too, start from ImageNet weights trained on VOC.", {"coco-weights": VOC}),
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
        "Generated images, random encoders and a smaller DeepLabV3: this demo shows the form of the table.",
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
