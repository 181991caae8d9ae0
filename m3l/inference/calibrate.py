"""Calibrates the intervals of a bundle on the validation posts, with the Simulator that will predict."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from m3l.data.examples import history_folder, load_examples, post_ids, task_examples
from m3l.data.records import Example
from m3l.inference.bundle import Bundle
from m3l.inference.conformal import MIN_ROWS_FOR_95, Intervals, half_widths
from m3l.inference.simulator import Simulator
from m3l.prompts.render import anonymised, without_fields

MAX_POSTS = 2000  # more would hardly change the intervals
BATCH_POSTS = 32


def calibrate_bundle(bundle: Bundle, device: torch.device | None = None) -> Intervals:
    """The intervals of a bundle, from at most MAX_POSTS posts of the split `validation`.

    Args:
        bundle: A trained model; its configuration names the folders of the posts.
        device: CUDA if available, else the CPU, by default.

    Returns:
        The intervals; empty ones if the bundle does not predict likes.
    """
    config, simulator = bundle.config, Simulator(bundle, device)
    if "likes" not in config.heads:
        return Intervals()
    posts, context = config.paths.of("posts"), config.paths.of("context")
    history = history_folder(config.model.history, config.paths.of("history"), config.history)
    ids, task = post_ids(posts, "validation", ("likes",))[:MAX_POSTS], simulator.task("likes").name

    def read() -> Iterator[list[Example]]:
        for start in range(0, len(ids), BATCH_POSTS):
            block = load_examples(posts, context, ids[start : start + BATCH_POSTS], history)
            yield [row[task] for row in task_examples(block, config.tasks)]

    return calibrate(simulator, read)


def calibrate(simulator: Simulator, read: Callable[[], Iterator[Sequence[Example]]]) -> Intervals:
    """The intervals of known and of cold accounts, from held-out posts with likes.

    With fewer than MIN_ROWS_FOR_95 posts of cold accounts, all posts with the account's name and history removed stand
    in for them, each account with the same weight. The resulting intervals are slightly too narrow where the caption's
    style and the media still identify the account, and too wide where known accounts get more likes than new ones.

    Args:
        simulator: Predicts the likes.
        read: Starts to read the posts, a batch at a time; called twice if posts of cold accounts are too few.
    """
    known: list[float] = []
    cold: list[float] = []
    for examples in read():
        for example, residual in zip(examples, _residuals(simulator, examples).tolist(), strict=True):
            (cold if simulator.is_cold(example.post) else known).append(residual)
    known_widths = half_widths(np.array(known))
    if len(cold) >= MIN_ROWS_FOR_95:
        return Intervals(known=known_widths, cold=half_widths(np.array(cold)))
    return Intervals(known=known_widths, cold=half_widths(*_hidden_residuals(simulator, read())), cold_rows="hidden")


def _residuals(simulator: Simulator, examples: Sequence[Example]) -> Float[np.ndarray, " row"]:
    likes = np.array([example.post.likes for example in examples], np.float64)
    return np.log1p(likes) - simulator.predict_log1p(examples)


def _hidden_residuals(
    simulator: Simulator, batches: Iterator[Sequence[Example]]
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """Residuals without the account's name and history, and weights that sum to 1 in each account."""
    residuals: list[float] = []
    accounts: list[str] = []
    for examples in batches:
        residuals += _residuals(simulator, [_hide_account(example) for example in examples]).tolist()
        accounts += [example.post.username for example in examples]
    posts = Counter(accounts)
    return np.array(residuals), np.array([1 / posts[account] for account in accounts])


def _hide_account(example: Example) -> Example:
    return example.model_copy(update={"post": without_fields(anonymised(example.post), ["history"])})
