"""The mirror of records in Weights & Biases, and the reader of mirrored records.

`names` maps columns to W&B's keys. `tail` finds new records, `mirror` sends them, and `study_run` sends the study as a whole, to
a `destination`; only W&B's `server` knows what has arrived. `send` is one attempt in a separate process, which `process` restarts
until everything is sent. A study's command starts `process` (`launch`), or `segsweep wandb sync` does. `reader` reads records
back.
"""
