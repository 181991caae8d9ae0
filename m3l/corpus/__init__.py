"""A synthetic corpus with ground truth: who is shown when, and what each like is made of."""
