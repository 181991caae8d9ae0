"""What `evaluate` measures beside the model, and shows."""
