"""The mirror of records in Weights & Biases, and how they are read back from there.

`names` maps columns to W&B's keys; `tail` finds what is new in the records; `mirror` sends it, and `study_run` the study as a
whole, to a `destination`, whose `server` alone knows what has arrived. `send` does this in a process of its own, which `process`
starts anew until all is sent; a study's command starts that (`launch`), or `segsweep wandb sync` does. `reader` reads it back.
"""
