"""Examples for training and evaluation: posts with their histories and the frames retrieved for them, read by id."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from m3l.config import ConfigError, HistoryConfig, TaskConfig
from m3l.data import storage
from m3l.data.folder_settings import read_settings
from m3l.data.keyed_rows import open_rows
from m3l.data.records import COMPANY, Context, Example, History, MediaFrames, Post, TaskExamples, with_company
from m3l.data.schemas import CONTEXT, HISTORY, POSTS, to_table

_CONTEXTS = pa.list_(pa.struct(list(CONTEXT)))
EXAMPLES = pa.schema([*POSTS, HISTORY.field("history"), pa.field("contexts", _CONTEXTS)])

_HISTORY_FIELDS = ("known", "lag_days", "half_life_days", "captions", "caption_chars")


def post_ids(folder: str, split: str, fields: tuple[str, ...]) -> list[str]:
    """The ids of the posts of a split in which none of the fields is None.

    Args:
        folder: Folder of POSTS.
        split: The split, e.g. "train".
        fields: Columns of POSTS.
    """
    columns = list({"post_id", "split", *fields})
    rows = storage.read_rows(folder, columns, batch_rows=65536)
    return [r["post_id"] for r in rows if r["split"] == split and all(r[f] is not None for f in fields)]


def load_examples(posts: str, context: str, ids: list[str], history: str | None = None) -> pa.Table:
    """The rows of EXAMPLES of some posts, in the order of their ids.

    Args:
        posts: Folder of POSTS.
        context: Folder of CONTEXT; a post that is not in it has an empty list of contexts.
        ids: Ids of the posts.
        history: Folder of HISTORY; None leaves the histories empty.

    Raises:
        KeyError: A post, or the history of one, is missing.
    """
    posts_by_id, contexts_by_id = open_rows(posts, "post_id"), open_rows(context, "post_id")
    rows = [{**posts_by_id[i][0], "contexts": contexts_by_id.get(i)} for i in ids]
    if history:
        rows = [{**row, "history": load_history(history, row["post_id"]).model_dump()} for row in rows]
    return to_table(rows, EXAMPLES)


def masked_fields(tasks: Sequence[TaskConfig]) -> tuple[str, ...]:
    """The fields that the tasks mask: a post needs them all to be trained and evaluated on."""
    return tuple(dict.fromkeys(task.masked for task in tasks))


def with_histories(posts: Sequence[Post], folder: str) -> list[Post]:
    """The posts with their histories from a folder of HISTORY; KeyError if one is missing."""
    return [post.model_copy(update={"history": load_history(folder, post.post_id)}) for post in posts]


def load_history(folder: str, key: str) -> History:
    """The history of one post, with that of its company.

    Args:
        folder: Folder of HISTORY, with the histories of companies below it.
        key: The id under which the history was written.

    Raises:
        KeyError: The folder has no history of the post.
    """
    account = open_rows(folder, "post_id")[key][0]["history"]
    rows = open_rows(f"{folder}/{COMPANY}", "post_id").get(key)
    company = History.model_validate(rows[0]["history"]) if rows else None
    return with_company(History.model_validate(account), company)


def history_folder(reads_history: bool, folder: str, settings: HistoryConfig) -> str | None:
    """The folder of the posts' histories if the model reads them, else None.

    Args:
        reads_history: Whether the model reads histories (`model.history`).
        folder: Folder of HISTORY.
        settings: How histories are computed at prediction time.

    Raises:
        ConfigError: There are no histories, or they were computed with other settings.
    """
    if not reads_history:
        return None
    if not storage.parts(folder):
        raise ConfigError(f"{folder} holds no histories: run `m3l history` first")
    saved = (read_settings(folder) or {}).get("history", {})
    for name in _HISTORY_FIELDS:
        if saved.get(name) != getattr(settings, name):
            raise ConfigError(
                f"history.{name}: {folder} was written with {saved.get(name)}; use that, or run `m3l history` into "
                "another folder"
            )
    return folder


def task_examples(block: pa.Table, tasks: Sequence[TaskConfig]) -> Iterator[TaskExamples]:
    """Each post of a table of EXAMPLES as every task reads it."""
    for row in block.to_pylist():
        yield {task.name: example(row, task.name) for task in tasks}


def example(row: dict[str, Any], task: str) -> Example:
    """One row of EXAMPLES as a task reads it; without a context for the task it has no frames.

    Args:
        row: A row of EXAMPLES.
        task: Name of the task.
    """
    post = Post.model_validate(row)
    context = next((c for c in row["contexts"] or [] if c["task"] == task), None)
    empty = Context(post_id=post.post_id, task=task, error="no context")
    return Example(post=post, context=Context.model_validate(context) if context else empty)


def key_frames(folder: str, post: Post) -> Iterator[MediaFrames]:
    """The key frames of a post's media files in album order; a file that has none in the folder is left out.

    Args:
        folder: Folder of KEYFRAMES.
        post: The post.
    """
    rows = open_rows(folder, "media_id")
    for item in post.media:
        for row in rows.get(item.media_id):
            yield MediaFrames.model_validate(row)
