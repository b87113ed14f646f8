"""The training loop, and what it is made of: batches, losses, metrics, evaluation, checkpoints."""
