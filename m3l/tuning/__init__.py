"""The search space of a sweep and the records of its trials."""
