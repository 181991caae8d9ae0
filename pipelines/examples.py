"""Examples for training and evaluation: posts with their contexts, read by key."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from m3l import storage
from m3l.config import TaskConfig
from m3l.records import CONTEXT, POSTS, Context, Example, MediaFrames, Post, to_table
from m3l.store import open_store

_CONTEXTS = pa.list_(pa.struct(list(CONTEXT)))
EXAMPLES = pa.schema([*POSTS, pa.field("contexts", _CONTEXTS)])


def post_ids(folder: str, split: str, fields: tuple[str, ...]) -> list[str]:
    """The ids of a split's posts that have every one of the fields."""
    columns = list({"post_id", "split", *fields})
    rows = storage.read_rows(folder, columns, batch_rows=65536)
    return [r["post_id"] for r in rows if r["split"] == split and all(r[f] is not None for f in fields)]


def load_examples(posts: str, context: str, ids: list[str]) -> pa.Table:
    """The rows of EXAMPLES of some posts, in the order of `ids`; a post without contexts has an empty list."""
    known, frames = open_store(posts, "post_id"), open_store(context, "post_id")
    rows = [{**known[i][0], "contexts": frames.get(i)} for i in ids]
    return to_table(rows, EXAMPLES)


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
