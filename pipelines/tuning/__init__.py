"""The trials of `tune`."""
