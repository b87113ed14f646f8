"""Which source domain transfers best to pets, and does freezing the encoder help?

Paper: "A Study of Transfer Learning Performance for Semantic Segmentation from Various Source Domains" (University College
London), Table 1. DeepLabV3 with ResNet-50 is trained on each source for 10 epochs; only its backbone is transferred to
Oxford-IIIT Pet.

    python sweeps/source_domains.py --demo                        # generated images; about 20 s
    python sweeps/source_domains.py --data ROOT                   # without the paper's limits, see below
    python sweeps/source_domains.py --data ROOT --as-published    # the seven runs of Table 1

By default every source is limited to the same number of images, trains for the same number of steps, is resized as the target
is, and is transferred with a frozen and a trained encoder. The learning rate is tuned in every cell and confirmed with three
seeds. As published, sources have their own sizes and preprocessing (ISIC and MAS3K resized with nearest, Cityscapes and VOC
centre-cropped without resizing), one learning rate and one seed, and the epoch with the lowest validation loss is kept.

Deviations from the paper:

- The paper uses a pre-processed copy of pets with 2,210/738/738 images; here the official trainval is divided into
  2,208/736/736 images, which are resized to 256 px, and duplicates stay where they are. The class of the trimap's border is not
  stated; here it is foreground.
- The sizes of its sources are those of the training splits of COCO (118,287), Cityscapes (2,975) and ISIC (2,594) and of all
  labelled images of VOC (2,913) and MAS3K (2,910). Where there are no other images to validate on, a tenth is held out here:
  VOC trains on 2,622, MAS3K on 2,619, ISIC without its official validation images on 2,335.
- MAS3K's files have one mask of the animal per image; its "37 types of marine animals" are read from the files' names here.
- The framework is not stated. Here it is torchvision's DeepLabV3 without auxiliary classifier; as in a PyTorch script that only
  sets requires_grad to False, the frozen backbone normalises by the batch and updates its statistics (`frozen_norm=train`).
- The initial weights of sources and Baseline are not stated beyond "no prior training"; here they are random.
- The kept epoch of a source's training is not stated; here it is the one with the lowest validation loss.
- The batch size is not stated; here 16. Input normalisation is not stated; here ImageNet's mean and deviation.
- How COCO's images become 256 px is not stated; here they are resized. The paper flips "data samples"; here images of sources and
  pets are flipped.
- Over what the metrics are averaged is not stated; here they are those of pets' foreground over the counts of the whole test
  split.
"""

from dataclasses import replace

from segsweep import LogUniform, PerCellRacing, Published, PublishedRun, Study, Target, deviations_in, main

TABLE_1 = {  # accuracy, recall, precision, F1, IoU
    "Baseline": ({"source": "random", "freeze": "none"}, (0.931, 0.927, 0.907, 0.916, 0.846)),
    "COCO": ({"source": "supervised:coco", "freeze": "encoder"}, (0.943, 0.912, 0.954, 0.932, 0.873)),
    "COCO-Ablation": ({"source": "supervised:coco", "freeze": "none"}, (0.927, 0.900, 0.927, 0.912, 0.839)),
    "ISIC2018": ({"source": "supervised:isic2018", "freeze": "encoder"}, (0.833, 0.824, 0.763, 0.789, 0.653)),
    "Cityscapes": ({"source": "supervised:cityscapes/raw", "freeze": "encoder"}, (0.808, 0.788, 0.753, 0.761, 0.616)),
    "MAS3K": ({"source": "supervised:mas3k", "freeze": "encoder"}, (0.841, 0.816, 0.796, 0.803, 0.672)),
    "VOC2012": ({"source": "supervised:voc2012", "freeze": "encoder"}, (0.899, 0.873, 0.888, 0.879, 0.786)),
}
MEASURES = ("test_accuracy", "test_recall", "test_precision", "test_f1", "test_iou")


def table_1(sources: dict[str, str], note: str) -> Published:
    """Return the published table; `sources` maps the paper's sources to those that replace them here."""
    runs = []
    for name, (cell, numbers) in TABLE_1.items():
        like = {**cell, "source": sources.get(cell["source"], cell["source"])}
        runs.append(PublishedRun(name, like, dict(zip(MEASURES, numbers, strict=True))))
    return Published("Table 1 of the paper (2,210 training images, one seed)", runs, note)


SETTINGS = {"architecture": "deeplabv3-resnet50", "image_px": 256, "epochs": 10, "source_epochs": 10}
OFFICIAL, WHOLE = ["coco", "isic2018", "cityscapes/raw"], ["voc2012", "mas3k"]  # trained on the training split, on all images

study = Study(
    name="source_domains",
    target=Target("pets", classes="foreground", protocol="60-20-20"),
    compare=[
        {"source": ["random", *(f"supervised:{name}@2300" for name in OFFICIAL)], "freeze": ["none", "encoder"]},
        {"source": [f"supervised:{name}@2300" for name in WHOLE], "freeze": ["none", "encoder"], "source_split": ["all"]},
    ],
    tune={"learning_rate": LogUniform(1e-5, 1e-2)},
    fixed={**SETTINGS, "source_fit": "resize", "batch_size": 16},
    trials_per_cell=8,
    seeds=3,
    early_stopping=PerCellRacing(),
    published=table_1(
        {f"supervised:{name}": f"supervised:{name}@2300" for name in OFFICIAL + WHOLE},
        "Here all sources have 2,300 images and the learning rate is tuned; in the paper COCO has 118,287, and one rate is used.",
    ),
)

as_published = Study(
    name="source_domains_as_published",
    target=Target("pets", classes="foreground", protocol="60-20-20", leakage="report"),
    compare=[
        {"source": ["random"], "freeze": ["none"]},
        {"source": ["supervised:coco"], "freeze": ["encoder", "none"]},
        {"source": ["supervised:isic2018"], "freeze": ["encoder"], "source_fit": ["nearest"]},
        {"source": ["supervised:mas3k"], "freeze": ["encoder"], "source_fit": ["nearest"], "source_split": ["all"]},
        {"source": ["supervised:cityscapes/raw"], "freeze": ["encoder"], "source_fit": ["raw-crop"]},
        {"source": ["supervised:voc2012"], "freeze": ["encoder"], "source_fit": ["raw-crop"], "source_split": ["all"]},
    ],
    fixed={
        **SETTINGS,
        "learning_rate": 1e-3,
        "source_learning_rate": 1e-3,
        "batch_size": 16,
        "keep": "val_loss",
        "frozen_norm": "train",
    },
    seeds=1,
    published=replace(table_1({}, ""), deviations=deviations_in(__doc__)),
)

demo = Study(
    name="source_domains_demo",
    target=Target("generated_pets", protocol="70-10-20"),
    compare={
        "source": ["random", *(f"supervised:generated_{distance}@60" for distance in ("near", "middle", "far"))],
        "freeze": ["none", "encoder"],
    },
    fixed={
        "architecture": "unet16",
        "image_px": 32,
        "fraction": 0.1,
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "source_epochs": 1,
        "source_learning_rate": 3e-3,
    },
    seeds=1,
    published=table_1(
        {
            "supervised:coco": "supervised:generated_near@60",
            "supervised:cityscapes/raw": "supervised:generated_middle@60",
            "supervised:isic2018": "supervised:generated_far@60",
        },
        "Generated images replace the paper's datasets: this demo shows the form of the table, and compares nothing.",
    ),
)

if __name__ == "__main__":
    main(study, demo=demo, as_published=as_published)
