"""Which source, which architecture, what to freeze, and how much data, when the target is Oxford-IIIT Pet?

The main study: every combination of source, architecture, freeze policy and share of the training split. The learning rate is
tuned in every cell with the same budget and confirmed with three seeds.

    python sweeps/transfer_grid.py --demo                 # generated images, minutes on a laptop
    python sweeps/transfer_grid.py --data ROOT            # Oxford-IIIT Pet, PASCAL VOC and COCO below ROOT
    python sweeps/transfer_grid.py --data ROOT --preset laptop

Cells differ only in the compared axes. Each source has 1,400 images (PASCAL VOC's training split has 1,464) and 2,000 optimiser
steps at the best of three learning rates, chosen on its own validation split. Each fraction has 1,380 steps, which are ten epochs
of the whole training split. To compare sources at their full sizes, or fractions at equal epochs:

    --set source=random,supervised:voc2012,supervised:coco --set source_epochs=10     # sources at full size, ten epochs each
    --set epochs=10                                                                   # fractions at equal epochs
    --set source_learning_rate=1e-3                                                   # one rate for all sources, not tuned
"""

from segsweep import LogUniform, PerCellRacing, Study, Target, main

study = Study(
    name="transfer_grid",
    target=Target("pets", classes="foreground", protocol="60-20-20"),
    compare={
        "source": ["random", "supervised:voc2012@1400", "supervised:coco@1400"],
        "architecture": ["unet-resnet50", "deeplabv3plus-mobilenet_v2"],
        "freeze": ["none", "encoder"],
        "fraction": [0.2, 0.5, 1.0],
    },
    tune={"learning_rate": LogUniform(1e-5, 1e-2), "source_learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={"steps": 1380, "validations": 10, "source_steps": 2000, "batch_size": 16, "image_px": 256, "loss": "cross_entropy"},
    trials_per_cell=8,
    seeds=3,
    source_trials=3,
    early_stopping=PerCellRacing(),
)

demo = Study(
    name="transfer_grid_demo",
    target=Target("generated_pets", protocol="70-10-20"),
    compare={
        "source": [
            "random",
            "supervised:generated_near@240",
            "supervised:generated_middle@240",
            "supervised:generated_far@240",
        ],
        "freeze": ["none", "encoder"],
    },
    tune={"learning_rate": LogUniform(1e-4, 1e-2), "source_learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={
        "architecture": "unet16",
        "image_px": 48,
        "fraction": 0.1,
        "steps": 42,
        "validations": 7,
        "batch_size": 8,
        "source_steps": 120,
        "source_batch_size": 16,
    },
    trials_per_cell=3,
    seeds=3,
    source_trials=3,
    early_stopping=PerCellRacing(),
)

presets = {
    "laptop": [
        "architecture=unet-mobilenet_v2",
        "source=random,supervised:voc2012@100,supervised:coco@100",
        "image_px=96",
        "steps=60",
        "validations=3",
        "source_steps=150",
        "fraction=0.2,1.0",
        "trials_per_cell=2",
        "seeds=1",
    ],
}

if __name__ == "__main__":
    main(study, demo=demo, presets=presets)
