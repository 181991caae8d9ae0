"""What a training run takes: parameters, memory, FLOPs."""
