"""How wide a bundle's intervals are, measured through the very Simulator that will answer."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from m3l.data.examples import history_of, load_examples, post_ids, rows
from m3l.data.records import Example
from m3l.inference.bundle import Bundle
from m3l.inference.conformal import ENOUGH, Intervals, Residuals, widths
from m3l.inference.simulator import Simulator
from m3l.prompts.render import nameless, without


def calibrate(simulator: Simulator, read: Callable[[], Iterator[Sequence[Example]]]) -> Intervals:
    """The intervals from held-out posts with likes; `read` begins to read them, some at a time.

    Where too few of them are of cold accounts, those of known accounts stand in, without their names and each account
    counting alike, since new accounts come one by one. That is a little too sure where a caption's voice and the
    pictures still give the account away, and not sure enough where accounts with a past have more likes than new ones.
    """
    known: list[float] = []
    cold: list[float] = []
    for examples in read():
        told = zip(examples, _residuals(simulator, examples), strict=True)
        for example, residual in told:
            (cold if simulator.is_cold(example.post) else known).append(residual)
    if len(cold) >= ENOUGH:
        return Intervals(known=widths(np.array(known)), cold=widths(np.array(cold)))
    hidden: list[float] = []
    accounts: list[str] = []
    for examples in read():
        hidden += _residuals(simulator, [_hidden(example) for example in examples]).tolist()
        accounts += [example.post.username for example in examples]
    posts = Counter(accounts)
    weights = np.array([1 / posts[account] for account in accounts])
    return Intervals(known=widths(np.array(known)), cold=widths(np.array(hidden), weights), cold_rows="hidden")


def _residuals(simulator: Simulator, examples: Sequence[Example]) -> Residuals:
    true = np.array([example.post.likes for example in examples], np.float64)
    return np.log1p(true) - simulator.log1p(examples)


def _hidden(example: Example) -> Example:
    return example.model_copy(update={"post": without(nameless(example.post), ["history"])})


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
