"""Which source, which architecture, what to freeze, and how much data, when the target is Oxford-IIIT Pet?

The main study: every combination of source, architecture, freeze policy and share of the training split, the learning
rate tuned in each cell alike, three confirmed runs per cell.

    python sweeps/transfer_grid.py --demo                 # generated pictures, minutes on a laptop
    python sweeps/transfer_grid.py --data ROOT            # Oxford-IIIT Pet, PASCAL VOC and COCO below ROOT
    python sweeps/transfer_grid.py --data ROOT --preset laptop
"""

from segsweep import LogUniform, PerCellASHA, Study, Target, main

study = Study(
    name="transfer_grid",
    target=Target("pets", classes="foreground", protocol="60-20-20"),
    compare={
        "source": ["random", "supervised:voc2012", "supervised:coco"],
        "architecture": ["unet-resnet50", "deeplabv3plus-mobilenet_v2"],
        "freeze": ["none", "encoder"],
        "fraction": [0.2, 0.5, 1.0],
    },
    tune={"learning_rate": LogUniform(1e-5, 1e-2)},
    fixed={"epochs": 10, "batch_size": 16, "image_px": 256, "loss": "cross_entropy"},
    trials_per_cell=8,
    seeds=3,
    early_stopping=PerCellASHA(grace_epochs=2, reduction_factor=3),
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
    tune={"learning_rate": LogUniform(1e-4, 1e-2)},
    fixed={
        "architecture": "unet16",
        "image_px": 48,
        "fraction": 0.1,
        "epochs": 7,
        "batch_size": 8,
        "source_epochs": 8,
        "source_batch_size": 16,
    },
    trials_per_cell=3,
    seeds=3,
    early_stopping=PerCellASHA(grace_epochs=2, reduction_factor=3),
)

presets = {
    "laptop": [
        "architecture=unet-mobilenet_v2",
        "image_px=96",
        "epochs=3",
        "fraction=0.2,1.0",
        "trials_per_cell=2",
        "seeds=1",
    ],
}

if __name__ == "__main__":
    main(study, demo=demo, presets=presets)
