"""Which task a training step trains: Algorithm 1's THRESHOLD, drawn from the seed and the step."""

import math

import numpy as np

from m3l.config import TaskConfig


def draw_task(tasks: tuple[TaskConfig, ...], step: int, seed: int, cut: float) -> TaskConfig:
    """THRESHOLD in [0, 100) > cut draws among the caption tasks, else among the likes tasks (method.md, section 4).

    The draw depends on seed and step alone: every rank takes the same branch, and a resumed run repeats it.
    """
    random = np.random.default_rng((seed, step))
    head = "caption" if random.uniform(0, 100) > cut else "likes"
    of_head = [task for task in tasks if task.head == head] or list(tasks)
    return of_head[random.integers(len(of_head))]


def learning_rate(step: int, warmup_steps: int, steps: int, rising_share: float) -> float:
    """The factor of a step: rises at the start of each stage, stays in the warm-up, then falls as a cosine to 2%."""
    rising = max(1, round(rising_share * steps))
    if step < warmup_steps:
        return min(1.0, (step + 1) / rising)
    at, length = step - warmup_steps, max(1, steps - warmup_steps)
    rise = 1.0 if warmup_steps else min(1.0, (at + 1) / rising)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, at / length))))
