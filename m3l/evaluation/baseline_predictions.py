"""posts/ -> report/baselines/: predictions of baselines that are fitted on the training posts."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from m3l.data import storage
from m3l.data.examples import with_histories
from m3l.data.records import Post
from m3l.data.schemas import to_table
from m3l.evaluation.held_out import HELD_OUT_COLUMNS, HeldOutPosts
from m3l.evaluation.text_metrics import CAPTION_COLUMNS, DocumentFrequencies, caption_scores

CHUNK_ROWS = 4096
LIKES = ("mean", "account_mean", "account_median", "trees_metadata", "trees_history", "account_recent")
CAPTIONS = ("nearest_post", "constant")
BASELINE_COLUMNS = (
    *(f"likes.{name}" for name in LIKES),
    *(f"captions.{name}.{score}" for name in CAPTIONS for score in CAPTION_COLUMNS),
)
BASELINES = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        *((f"caption.{name}", pa.string()) for name in CAPTIONS),
        *((name, pa.float64()) for name in BASELINE_COLUMNS),
    ]
)


def predict_baselines(
    held_out: HeldOutPosts, history: str | None, output: str, frequencies: DocumentFrequencies
) -> int:
    """Fit the baselines and write their predictions, unless all are written already.

    The training posts are in memory while the baselines are fitted; the held-out posts pass through in chunks.

    Args:
        held_out: The posts to predict; the training posts are in the same folder.
        history: Folder of the posts' histories; None if there are none. Two baselines need them.
        output: Folder of BASELINES that is filled.
        frequencies: Document frequencies of the held-out captions, for CIDEr.

    Returns:
        The number of training posts.
    """
    rows = storage.read_rows(held_out.folder, batch_rows=CHUNK_ROWS)
    train = [Post.model_validate(row) for row in rows if row["split"] == "train"]
    if storage.count_rows(output) == sum(1 for _ in held_out.rows(HELD_OUT_COLUMNS)):
        return len(train)
    if history:
        train = with_histories(train, history)
    likes = _fit_likes(train, bool(history)) if "likes" in held_out.heads else {}
    captions = _fit_captions(train) if "caption" in held_out.heads else {}
    for chunk in _chunks(held_out.rows()):
        posts = with_histories(chunk, history) if history else chunk
        table = to_table(_predict(posts, likes, captions, frequencies), BASELINES)
        storage.write_part(table, output, [post.post_id for post in posts])
    return len(train)


def _fit_likes(train: Sequence[Post], with_history: bool) -> dict[str, Any]:
    from m3l.evaluation import likes_baselines  # here, since LightGBM takes long to import
    from m3l.evaluation.history_trees import AccountRecent, HistoryTrees

    baselines: dict[str, Any] = {
        "mean": likes_baselines.Mean(),
        "account_mean": likes_baselines.AccountMean(),
        "account_median": likes_baselines.AccountMedian(),
        "trees_metadata": likes_baselines.MetadataTrees(),
    }
    if with_history:
        baselines |= {"trees_history": HistoryTrees(), "account_recent": AccountRecent()}
    return {name: baseline.fit(train) for name, baseline in baselines.items()}


def _fit_captions(train: Sequence[Post]) -> dict[str, Any]:
    from m3l.evaluation.caption_baselines import ConstantCaption, NearestCaption

    return {"nearest_post": NearestCaption().fit(train), "constant": ConstantCaption().fit(train)}


def _predict(
    posts: Sequence[Post], likes: dict[str, Any], captions: dict[str, Any], frequencies: DocumentFrequencies
) -> list[dict[str, Any]]:
    """The rows of BASELINES of some posts, from fitted baselines by name."""
    rows: list[dict[str, Any]] = [{"post_id": post.post_id} for post in posts]
    for name, baseline in likes.items():
        for row, value in zip(rows, baseline.predict(posts).tolist(), strict=True):
            row[f"likes.{name}"] = value
    for name, baseline in captions.items():
        predicted = baseline.predict(posts)
        scores = caption_scores([post.caption or "" for post in posts], predicted, frequencies)
        for row, caption, values in zip(rows, predicted, scores, strict=True):
            row[f"caption.{name}"] = caption
            row |= {f"captions.{name}.{score}": value for score, value in values.items()}
    return rows


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[Post]]:
    while chunk := [Post.model_validate(row) for row in islice(rows, CHUNK_ROWS)]:
        yield chunk
