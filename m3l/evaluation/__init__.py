"""Metrics with bootstrap intervals, baselines, and the evaluation of a bundle."""
