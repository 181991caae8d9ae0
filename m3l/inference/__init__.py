"""A bundle and the simulator that predicts likes and captions with it."""
