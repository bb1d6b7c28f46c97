"""Training: dataset and caches, batches, losses, the loop, validation, checkpoints, the stage."""
