"""Examples for training and evaluation: posts with their contexts, read by key."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from m3l.config import Config, ConfigError, TaskConfig
from m3l.data import storage
from m3l.data.keyed_rows import open_store
from m3l.data.records import COMPANY, Context, Example, History, MediaFrames, Post, together
from m3l.data.schemas import CONTEXT, HISTORY, POSTS, to_table
from m3l.data.storage import SETTINGS

_CONTEXTS = pa.list_(pa.struct(list(CONTEXT)))
EXAMPLES = pa.schema([*POSTS, HISTORY.field("history"), pa.field("contexts", _CONTEXTS)])


def post_ids(folder: str, split: str, fields: tuple[str, ...]) -> list[str]:
    """The ids of a split's posts that have every one of the fields."""
    columns = list({"post_id", "split", *fields})
    rows = storage.read_rows(folder, columns, batch_rows=65536)
    return [r["post_id"] for r in rows if r["split"] == split and all(r[f] is not None for f in fields)]


def load_examples(posts: str, context: str, ids: list[str], history: str | None = None) -> pa.Table:
    """The rows of EXAMPLES of some posts, in the order of `ids`; a post without contexts has an empty list.

    With `history`, that folder's rows are theirs, and each post needs one.
    """
    known, frames = open_store(posts, "post_id"), open_store(context, "post_id")
    rows = [{**known[i][0], "contexts": frames.get(i)} for i in ids]
    if history:
        rows = [{**row, "history": recalled(history, row["post_id"]).model_dump()} for row in rows]
    return to_table(rows, EXAMPLES)


def masked_fields(config: Config) -> tuple[str, ...]:
    """What a post must have so that every task can be trained and measured on it."""
    return tuple(dict.fromkeys(task.masked for task in config.tasks))


def with_histories(posts: Sequence[Post], folder: str) -> list[Post]:
    """The posts with their rows of history/."""
    return [post.model_copy(update={"history": recalled(folder, post.post_id)}) for post in posts]


def recalled(folder: str, key: str) -> History:
    """What a folder of histories tells of a post; KeyError if it is not there."""
    account = open_store(folder, "post_id")[key][0]["history"]
    company = open_store(f"{folder}/{COMPANY}", "post_id").get(key)
    told = History.model_validate(company[0]["history"]) if company else None
    return together(History.model_validate(account), told)


def history_of(config: Config) -> str | None:
    """The folder of histories that the model reads, or None; ConfigError if it is not made."""
    if not config.model.history:
        return None
    folder = config.paths.of("history")
    if not storage.parts(folder):
        raise ConfigError(f"{folder} holds no histories: run `m3l history` first")
    made = (storage.read_json(f"{folder}/{SETTINGS}") or {}).get("history", {})
    for name in ("known", "lag_days", "half_life_days", "captions", "caption_chars"):
        if made.get(name) != getattr(config.history, name):
            raise ConfigError(f"history.{name}: {folder} was made with {made.get(name)}, and a bundle must tell alike")
    return folder


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
