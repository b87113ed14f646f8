"""The mirror of records in Weights & Biases, and how they are read back from there.

`names` says how columns and W&B's keys belong together; `follow` finds what is new in the records; `mirror` sends it, from a
process of its own (`process`) that a study's command starts (`launch`) and `segsweep wandb sync` runs; `reader` reads it back.
"""
