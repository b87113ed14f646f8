"""The two training loops and their parts: batches, losses, metrics, evaluation, checkpoints."""
