"""posts/ -> report/baselines/: what honest baselines, fitted on the training rows, say of the held-out posts."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from m3l.config import Config
from m3l.data import storage
from m3l.data.examples import with_histories
from m3l.data.records import Post
from m3l.data.schemas import to_table
from m3l.evaluation.held_out import NEEDED, heads_of, held_out
from m3l.evaluation.text_metrics import WORDING, Documents, wording

CHUNK_ROWS = 4096
LIKES = ("mean", "account_mean", "account_median", "trees_metadata", "trees_history", "account_recent")
CAPTIONS = ("nearest_post", "constant")
NUMBERS = (*(f"likes.{who}" for who in LIKES), *(f"captions.{who}.{name}" for who in CAPTIONS for name in WORDING))
BASELINES = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        *((f"caption.{who}", pa.string()) for who in CAPTIONS),
        *((name, pa.float64()) for name in NUMBERS),
    ]
)


def tell_baselines(config: Config, folder: str, documents: Documents) -> int:
    """Fill the folder with the rows of BASELINES, once; the number of training posts.

    One worker holds the training rows while it fits; the held-out ones pass through in chunks.
    """
    from m3l.evaluation import caption_baselines, likes_baselines  # here, so that only the worker waits for it
    from m3l.evaluation.history_trees import AccountRecent, HistoryTrees

    posts = storage.read_rows(config.paths.of("posts"), batch_rows=CHUNK_ROWS)
    train = [Post.model_validate(row) for row in posts if row["split"] == "train"]
    if storage.count_rows(folder) == sum(1 for _ in held_out(config, NEEDED)):
        return len(train)
    likes: dict[str, Any] = {
        "mean": likes_baselines.Mean(),
        "account_mean": likes_baselines.AccountMean(),
        "account_median": likes_baselines.AccountMedian(),
        "trees_metadata": likes_baselines.MetadataTrees(),
    }
    captions: dict[str, Any] = {
        "nearest_post": caption_baselines.NearestCaption(),
        "constant": caption_baselines.ConstantCaption(),
    }
    if past := storage.parts(config.paths.of("history")):  # else nobody knows the accounts' earlier posts
        train = with_histories(train, config.paths.of("history"))
        likes |= {"trees_history": HistoryTrees(), "account_recent": AccountRecent()}
    heads = heads_of(config)
    told_likes = {who: baseline.fit(train) for who, baseline in likes.items() if "likes" in heads}
    told_captions = {who: baseline.fit(train) for who, baseline in captions.items() if "caption" in heads}
    for chunk in _chunks(held_out(config)):
        if past:
            chunk = with_histories(chunk, config.paths.of("history"))
        rows: list[dict[str, Any]] = [{"post_id": post.post_id} for post in chunk]
        for who, baseline in told_likes.items():
            for row, value in zip(rows, baseline.predict(chunk).tolist(), strict=True):
                row[f"likes.{who}"] = value
        for who, teller in told_captions.items():
            told = teller.predict(chunk)
            close = wording([post.caption or "" for post in chunk], told, documents)
            for row, caption, numbers in zip(rows, told, close, strict=True):
                row[f"caption.{who}"] = caption
                row |= {f"captions.{who}.{name}": value for name, value in numbers.items()}
        storage.write_part(to_table(rows, BASELINES), folder, [post.post_id for post in chunk])
    return len(train)


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[Post]]:
    while chunk := [Post.model_validate(row) for row in islice(rows, CHUNK_ROWS)]:
        yield chunk
