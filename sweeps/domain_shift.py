"""How much does a model lose when the domain shifts, and how much do 32 labelled images win back?

Paper: "Transfer Learning in Semantic Segmentation" (Johns Hopkins University), Tables 1 and 2. DeepLabV3+ with MobileNetV2,
trained on Cityscapes, is tested on 46 self-labelled street images (car, traffic sign, background; split 32/5/9), fine-tuned on
them for 24 iterations of 8 images, and tested again.

    python sweeps/domain_shift.py --demo                           # generated images; about 30 s
    python sweeps/domain_shift.py --data ROOT                      # without the paper's limits, see below
    python sweeps/domain_shift.py --data ROOT --as-published       # the paper's one run
    python sweeps/domain_shift.py --data ROOT --preset laptop       # one rate, two seeds, 96 px; minutes on two cores
    python sweeps/domain_shift.py --data ROOT --set target=folder:/home/me/street   # your images as the target

The target is a folder `street46` below ROOT (images/, masks/, classes.txt), or `--data street46=PATH`. The source is
Cityscapes; without Cityscapes it is the first of COCO, PASCAL VOC and ADE20K that is found, and a line says so (COCO's only
traffic sign is `stop sign`, which is mapped to it; VOC only has cars). Before fine-tuning, the source's classes are mapped to
the three of the target, and all other classes count as background. After fine-tuning, the study also measures how much of the
source is forgotten, which the paper names as future work.

By default the study compares random weights with the source, of which the encoder, all but the classifier, or all weights are
transferred, with a frozen and a trained encoder. The learning rate is tuned in every cell and confirmed with three seeds. As
published it is one run with one seed: the whole model is fine-tuned with a cross-entropy that counts background, and the last
iteration is tested.

Images of source and target become square in the same way: the short side is resized and the centre cut out (`fit` and
`source_fit` are `crop`). Cityscapes (2:1) and other street images squeezed into squares would differ in shape as well as in
domain. The price: scores cover only the centre; `--set fit=resize --set source_fit=resize` uses whole images.

Deviations from the paper:

- The paper's 46 images are not public: these are others, split 32/5/9 at random; which of its images are tested is not stated.
  Frames of one video may lie in several splits, as they may in the paper.
- Its model is "pre-trained on the fine version of Cityscapes"; here it is trained from ImageNet weights for 30,000 steps of 16
  images, the length and batch of the repository that the paper cites (VainF, DeepLabV3Plus-Pytorch), at 256 px and a rate of
  0.01.
- The network is segmentation-models-pytorch's DeepLabV3+ on MobileNetV2, not that repository's; its decoder has separable
  convolutions.
- The size of the images and how they are resized are not stated; here 256 px. Cityscapes is cropped, as in that repository,
  and target images are tested whole (`resize`), so source and target differ in shape too.
- What happens to the 19-class head is not stated. Here it is transferred (`transfer=all`): car and traffic sign start from the
  source's rows, and background starts from random weights.
- The optimiser is not stated; here that of the same repository: SGD with 0.01 for the head and a tenth of that for the encoder,
  momentum 0.9, weight decay 1e-4, poly.
- The strengths of crop and colour jitter are not stated; here squares of half the side or more, factors of 1 +- 0.5 and a hue
  shift of 0.05.
- How the output before fine-tuning is filtered is not stated; here a pixel whose highest logit belongs to a class other than car
  and traffic sign is background.
- Its pixel accuracy cannot be the share of correct pixels, given the background's IoU; it is read as the mean over the classes.
"""

from dataclasses import replace

from segsweep import LogUniform, Published, PublishedRun, Study, Target, deviations_in, main

TABLES_1_AND_2 = {  # pixel accuracy (a mean over classes), mean IoU; IoU of traffic sign, car, background
    "Before": (0.6642, 0.6097, 0.0717, 0.7847, 0.9728),
    "After": (0.8128, 0.7819, 0.5753, 0.7882, 0.9823),
}
MEASURES = ("test_mean_accuracy", "test_mean_iou", "test_iou_traffic_sign", "test_iou_car", "test_iou_background")


def tables(source: str, note: str, architecture: str = "deeplabv3plus-mobilenet_v2") -> Published:
    """Return the published tables, whose rows stand beside the cell that fine-tunes all weights of `source`."""
    cell = {"source": source, "architecture": architecture, "transfer": "all", "freeze": "none"}
    runs = [
        PublishedRun(name, cell, dict(zip(MEASURES, numbers, strict=True)), before=name == "Before")
        for name, numbers in TABLES_1_AND_2.items()
    ]
    return Published("Tables 1 and 2 of the paper (its accuracy read as the mean over classes)", runs, note)


CITYSCAPES = "supervised:cityscapes"
TARGET = Target("street46", protocol="70-10-20", class_map={"traffic_sign": ["stop sign"]})
SETTINGS = {
    "architecture": "deeplabv3plus-mobilenet_v2",
    "image_px": 256,
    "steps": 24,
    "validations": 24,
    "batch_size": 8,
    "augmentation": "crop_flip_jitter",
    "loss": "cross_entropy",
    "domain_shift": "on",
    "clip_images": 4,
    "fit": "crop",
    "source_fit": "crop",
}

study = Study(
    name="domain_shift",
    target=TARGET,
    compare={
        "source": ["random", CITYSCAPES],
        "transfer": ["all", "all-but-classifier", "encoder"],
        "freeze": ["none", "encoder"],
    },
    tune={"learning_rate": LogUniform(1e-5, 1e-2)},
    fixed={**SETTINGS, "source_epochs": 40, "source_batch_size": 16},
    trials_per_cell=8,
    seeds=3,
    published=tables(
        CITYSCAPES, "Here, unless narrowed, the rate is tuned and confirmed with three seeds; the street images are others."
    ),
)

as_published = Study(
    name="domain_shift_as_published",
    target=replace(TARGET, leakage="report"),
    compare={"source": [f"imagenet+{CITYSCAPES}"]},
    fixed={
        **SETTINGS,
        "fit": "resize",
        "transfer": "all",
        "freeze": "none",
        "keep": "last",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "encoder_lr_factor": 0.1,
        "weight_decay": 1e-4,
        "schedule": "poly",
        "source_steps": 30_000,
        "source_batch_size": 16,
        "source_learning_rate": 0.01,
    },
    seeds=1,
    published=replace(tables(f"imagenet+{CITYSCAPES}", ""), deviations=deviations_in(__doc__)),
)

CITY = "supervised:generated_city"
demo = Study(
    name="domain_shift_demo",
    target=Target("generated_street", protocol="70-10-20"),
    compare={"source": ["random", CITY], "transfer": ["all"]},
    fixed={
        **SETTINGS,
        "architecture": "unet16",
        "image_px": 48,
        "learning_rate": 3e-3,
        "source_epochs": 3,
        "source_learning_rate": 3e-3,
    },
    seeds=1,
    published=tables(
        CITY, "Generated streets: this demo shows the form of the tables and clips, and compares nothing.", "unet16"
    ),
)

presets = {
    "laptop": [
        "image_px=96",
        "transfer=all",
        "freeze=none",
        "learning_rate=1e-3",
        "source_steps=400",
        "seeds=2",
    ],
}

STAND_INS = {
    CITYSCAPES: ["supervised:coco", "supervised:voc2012", "supervised:ade20k"]
}  # without CamVid, to which the images of street46 may belong

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published, presets=presets, stand_ins=STAND_INS)
