"""Algorithm 1 for one rank: batches, steps, checkpoints."""
