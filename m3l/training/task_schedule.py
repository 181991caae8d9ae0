"""What changes from step to step: the task (Algorithm 1's THRESHOLD) and the learning rate."""

import math

import numpy as np

from m3l.config import TaskConfig

FINAL_LR = 0.02  # of the peak: where the cosine ends


def draw_task(tasks: tuple[TaskConfig, ...], step: int, seed: int, cut: float) -> TaskConfig:
    """The task that a step of the schedule `alternate` trains (Algorithm 1 of M3L).

    THRESHOLD is drawn uniformly from [0, 100): above the cut the step trains a caption task, else a likes task. The
    draw depends on seed and step alone, so that all ranks take the same branch and a resumed run repeats it.

    Args:
        tasks: The tasks of the configuration; if they all have one head, it is always drawn.
        step: The step, from 0 on.
        seed: The seed of the run.
        cut: What THRESHOLD is compared with (`train.cut`).
    """
    random = np.random.default_rng((seed, step))
    threshold = random.uniform(0, 100)
    head = "caption" if threshold > cut else "likes"
    candidates = [task for task in tasks if task.head == head] or list(tasks)
    return candidates[random.integers(len(candidates))]


def lr_factor(step: int, alignment_steps: int, steps: int, warmup_share: float) -> float:
    """The learning rate of a step, relative to its peak.

    It rises linearly from the first step on, stays at the peak until the alignment stage ends, and then falls to 2%
    along a cosine.

    Args:
        step: The step, from 0 on.
        alignment_steps: Steps of the alignment stage, the first of the run; 0 if there is none.
        steps: All steps of the run.
        warmup_share: Share of all steps over which it rises.
    """
    warmup_steps = max(1, round(warmup_share * steps))
    if step < alignment_steps:
        return min(1.0, (step + 1) / warmup_steps)
    after, length = step - alignment_steps, max(1, steps - alignment_steps)
    warmup = 1.0 if alignment_steps else min(1.0, (after + 1) / warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, after / length)))
    return warmup * (FINAL_LR + (1 - FINAL_LR) * cosine)
