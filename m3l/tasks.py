"""Which task a training step trains: Algorithm 1's THRESHOLD, drawn from the seed and the step."""

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
