"""How much does a model lose when the domain shifts, and how much do 32 labelled pictures win back?

Paper: "Transfer Learning in Semantic Segmentation" (Johns Hopkins University), Tables 1 and 2. DeepLabV3+ with MobileNetV2,
trained on Cityscapes, is run on 46 self-labelled street pictures (car, traffic sign, background; 32/5/9), fine-tuned on them for
24 iterations of 8 pictures, and run again.

    python sweeps/domain_shift.py --demo                           # generated pictures; about 30 s
    python sweeps/domain_shift.py --data ROOT                      # the paper's limits removed, see below
    python sweeps/domain_shift.py --data ROOT --as-published       # the paper's one run
    python sweeps/domain_shift.py --data ROOT --preset laptop       # one rate, two seeds, 96 px; minutes on two cores
    python sweeps/domain_shift.py --data ROOT --set target=folder:/home/me/street   # your own pictures as the target

The target is a folder `street46` below ROOT (images/, masks/, classes.txt), or `--data street46=PATH`. The source is
Cityscapes; where it is not at hand, the first of COCO, PASCAL VOC and ADE20K that is, and a line says so (COCO has no traffic
sign but `stop sign`, which stands for it here; VOC has cars alone). Before: a source's classes are mapped onto the three, and
all others taken for background. After: also what is left of the source, which the paper asks for as future work.

By default random weights are compared with the source, its encoder, all but its classifier, or all of it moved, with and
without a frozen encoder, the learning rate tuned in every cell, and three seeds. As published: one run, one seed; the whole
model is fine-tuned with a cross-entropy that counts background, and the last iteration is tested.

Images become square alike in source and target: the short side is resized and the centre cut out (`fit` and `source_fit` are
`crop`), since Cityscapes (2:1) and other street images squeezed into squares would differ in shapes too, beside the domain. The
price: scores count the centre alone; `--set fit=resize --set source_fit=resize` takes whole images.

Deviations from the paper:

- Its 46 images are not public: these are others, divided into 32/5/9 at random; which of its images tested is not said. Frames
  of one video may lie on both sides, as they may have there.
- Its model is "pre-trained on the fine version of Cityscapes"; here it is trained from ImageNet weights for 30,000 steps of 16,
  the length and batch of the repository that the paper cites (VainF, DeepLabV3Plus-Pytorch), at 256 px and with one rate of 0.01.
- The network is segmentation-models-pytorch's DeepLabV3+ on MobileNetV2, not that repository's; its decoder has separable
  convolutions.
- The size of the images and how they were brought to it are not said; here 256 px. Cityscapes is cropped, as in that repository,
  and target images are tested whole (`resize`), so both differ in shapes.
- What became of the 19-class head is not said. Here it moves (`transfer=all`): car and traffic sign go on from the source's own
  rows, and background starts fresh.
- The optimiser is not said; here that of the same repository: SGD with 0.01 for the head and a tenth of that for the encoder,
  momentum 0.9, weight decay 1e-4, poly.
- The strengths of crop and colour jitter are not said; here squares of half the side or more, factors of 1 +- 0.5 and a hue
  shift of 0.05.
- How the output before fine-tuning was filtered is not said; here a pixel whose highest logit is of another class than car or
  traffic sign is background.
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
    """The published tables, beside the whole fine-tuning of a source."""
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
    published=tables(CITYSCAPES, "Here, unless narrowed, the rate is tuned and three seeds confirm; other street pictures."),
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
        CITY, "Generated streets: this shows what the tables and the clips look like, and compares nothing.", "unet16"
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

STAND_INS = {CITYSCAPES: ["supervised:coco", "supervised:voc2012", "supervised:ade20k"]}  # not CamVid: street46 may be of it

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published, presets=presets, stand_ins=STAND_INS)
