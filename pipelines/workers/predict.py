"""The actor that predicts likes and captions for a block of posts."""

from typing import Any

import pyarrow as pa

from m3l.config import Config
from m3l.data.examples import load_history
from m3l.data.records import Post, Prediction
from m3l.data.schemas import PREDICTIONS, to_table
from m3l.inference.simulator import Simulator
from m3l.media.reader import KeyFrameReader

PREDICTION_ROWS = pa.schema([pa.field("row", pa.string()), *PREDICTIONS])


class PredictPosts:
    """A Ray Data actor that reads the media of a block of posts and predicts them.

    Args:
        config: The bundle's folder, and how media are read.
        history: Folder of the posts' histories by row number; None where the bundle has the histories.
    """

    def __init__(self, config: Config, history: str | None):
        self.simulator = Simulator.load(config.paths.of("bundle"))
        self.read = KeyFrameReader(config.media, config.paths.media_root) if self.simulator.retriever else None
        self.history = history

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.to_pylist()
        posts = [self._post(row) for row in rows if row["post"]]
        media = [[self.read(item) for item in post.media] if self.read else [] for post in posts]
        predicted = iter(self.simulator.simulate(posts, media) if posts else [])
        predictions = [
            next(predicted) if row["post"] else Prediction(post_id=row["id"], error=row["error"]) for row in rows
        ]
        return to_table(
            [{"row": row["row"], **each.model_dump()} for row, each in zip(rows, predictions, strict=True)],
            PREDICTION_ROWS,
        )

    def _post(self, row: dict[str, Any]) -> Post:
        post = Post.model_validate_json(row["post"])
        if self.history is None:
            return post
        return post.model_copy(update={"history": load_history(self.history, row["row"])})
