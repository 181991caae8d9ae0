"""Configurations to start from, by name."""
