"""Validation posts -> the intervals of a bundle, at the end of its training."""

from collections.abc import Iterator

import torch

from m3l.bundle import Bundle
from m3l.conformal import Intervals
from m3l.data.examples import history_of, load_examples, post_ids, rows
from m3l.data.records import Example
from m3l.evaluation.calibrate import calibrate
from m3l.simulate import Simulator

MOST = 2000  # posts: more would make the intervals little better
AT_ONCE = 32


def calibrated(made: Bundle, device: torch.device | None = None) -> Intervals:
    """The intervals of a bundle from the posts of the split `validation`; without a task for likes there are none."""
    config, simulator = made.config, Simulator(made, device)
    posts, context = config.paths.of("posts"), config.paths.of("context")
    if not any(task.head == "likes" for task in config.tasks):
        return Intervals()
    ids, task = post_ids(posts, "validation", ("likes",))[:MOST], simulator.task("likes").name
    past = history_of(config)

    def read() -> Iterator[list[Example]]:
        for start in range(0, len(ids), AT_ONCE):
            block = load_examples(posts, context, ids[start : start + AT_ONCE], past)
            yield [row[task] for row in rows(block, config.tasks)]

    return calibrate(simulator, read)
