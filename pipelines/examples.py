"""Examples for training and evaluation: posts with their contexts, read by key, streamed in a known order."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataIterator, Dataset

from m3l import storage
from m3l.config import TaskConfig
from m3l.records import CONTEXT, POSTS, Context, Example, MediaFrames, Post, to_table
from m3l.store import open_store, permutation

_CONTEXTS = pa.list_(pa.struct(list(CONTEXT)))
EXAMPLES = pa.schema([*POSTS, pa.field("contexts", _CONTEXTS)])


def post_ids(folder: str, split: str, fields: tuple[str, ...]) -> list[str]:
    """The ids of a split's posts that have every one of the fields."""
    columns = list({"post_id", "split", *fields})
    rows = storage.read_rows(folder, columns, batch_rows=65536)
    return [r["post_id"] for r in rows if r["split"] == split and all(r[f] is not None for f in fields)]


def stream(posts: str, context: str, ids: list[str], seed: int, epochs: int, block_rows: int) -> Dataset:
    """`epochs` passes over the posts, each in a new order that the seed gives; blocks of posts with contexts.

    One data set for all epochs: a new execution for each would start its workers again.
    """
    shared = ray.put(np.array(ids))
    rows = len(ids)

    def load(block: pa.Table) -> pa.Table:
        known = ray.get(shared)
        at = block["id"].to_numpy()
        chosen = [str(known[_order(rows, seed, int(i // rows))[i % rows]]) for i in at]
        return load_examples(posts, context, chosen)

    blocks = max(1, -(-rows * epochs // block_rows))
    numbers = ray.data.range(rows * epochs, override_num_blocks=blocks)
    return numbers.map_batches(load, batch_format="pyarrow", batch_size=None, num_cpus=0.5)


def load_examples(posts: str, context: str, ids: list[str]) -> pa.Table:
    """The rows of EXAMPLES of some posts, in the order of `ids`; a post without contexts has an empty list."""
    known, frames = open_store(posts, "post_id"), open_store(context, "post_id")
    rows = [{**known[i][0], "contexts": frames.get(i)} for i in ids]
    return to_table(rows, EXAMPLES)


def passes(
    shard: DataIterator, tasks: Sequence[TaskConfig], batch_size: int, cached: tuple[int, int] | None
) -> Iterator[list[dict[str, Example]]]:
    """Full batches of a rank's shard: as it streams, or, with a seed for `cached`, from memory for ever."""
    blocks = shard.iter_batches(batch_size=batch_size, batch_format="pyarrow", drop_last=cached is None)
    if cached is None:
        yield from (list(rows(block, tasks)) for block in blocks)
        return
    kept = [row for block in blocks for row in rows(block, tasks)]
    random = np.random.default_rng(cached)
    while len(kept) >= batch_size:
        order = random.permutation(len(kept))
        for start in range(0, len(kept) - batch_size + 1, batch_size):
            yield [kept[i] for i in order[start : start + batch_size]]


def rows(block: pa.Table, tasks: Sequence[TaskConfig]) -> Iterator[dict[str, Example]]:
    """The posts of a block as each task sees them: task name -> Example."""
    for row in block.to_pylist():
        yield {task.name: example(row, task.name) for task in tasks}


def example(row: dict[str, Any], task: str) -> Example:
    """One row of EXAMPLES as a task sees it; a post without a context for the task has no frames."""
    post = Post.model_validate(row)
    found = next((c for c in row["contexts"] or [] if c["task"] == task), None)
    unseen = Context(post_id=post.post_id, task=task, error="no context")
    return Example(post=post, context=Context.model_validate(found) if found else unseen)


def key_frames(folder: str, post: Post) -> Iterator[MediaFrames]:
    """The key frames of a post's media in album order; a file that keyframes/ does not hold is left out."""
    store = open_store(folder, "media_id")
    for item in post.media:
        for row in store.get(item.media_id):
            yield MediaFrames.model_validate(row)


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> np.ndarray:
    return permutation(rows, seed, epoch)
