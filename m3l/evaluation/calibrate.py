"""How wide a bundle's intervals are, measured through the very Simulator that will answer."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from m3l.conformal import ENOUGH, Intervals, Residuals, widths
from m3l.data.records import Example
from m3l.prompts import nameless, without
from m3l.simulate import Simulator


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
