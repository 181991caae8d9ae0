"""What `train` gives its ranks, and the ranges at its end."""
