"""Does training on COCO first improve segmentation of my images, and should the encoder be frozen?

The target is a folder with `images/`, `masks/` (PNG files of class numbers) and `classes.txt`, or with a COCO file.
`segsweep init NAME --target FOLDER` writes a copy of this file for such a folder. Each of the four cells tunes its learning rate
in four trials and confirms the best rate with three other seeds: 28 trials, and one source model to train.

    python sweeps/custom_dataset.py --demo                # generated images; about 30 s on 2 CPU cores
    python sweeps/custom_dataset.py --data ROOT --plan    # print cells, trials and the predicted time; train nothing
    python sweeps/custom_dataset.py --data ROOT           # COCO 2017 lies below ROOT

Other sources are `imagenet` and `imagenet+supervised:coco@2000`; `segsweep models` and `segsweep settings` list what else can be
compared, tuned or fixed.
"""

from dataclasses import replace

from segsweep import LogUniform, Study, Target, main

study = Study(
    name="custom_dataset",
    target=Target("folder:/path/to/dataset", protocol="70-10-20"),
    compare={"source": ["random", "supervised:coco@2000"], "freeze": ["none", "encoder"]},
    tune={"learning_rate": LogUniform(1e-5, 1e-2)},
    fixed={"architecture": "unet-resnet18", "image_px": 256, "steps": 400, "source_steps": 2000, "batch_size": 8},
    trials_per_cell=4,
    seeds=3,
)

demo = replace(
    study,
    name="custom_dataset_demo",
    target=Target("generated_street", protocol="70-10-20"),
    compare={"source": ["random", "supervised:generated_city@100"], "freeze": ["none", "encoder"]},
    fixed={"architecture": "unet16", "image_px": 48, "steps": 16, "validations": 2, "source_steps": 40, "batch_size": 8},
    trials_per_cell=2,
    seeds=2,
)

if __name__ == "__main__":
    main(study, demo=demo)
