"""The actor that predicts likes and captions for a block of posts."""

from typing import Any

import pyarrow as pa

from m3l.config import Config
from m3l.data.examples import recalled
from m3l.data.records import Post, Prediction
from m3l.data.schemas import PREDICTIONS, to_table
from m3l.inference.simulator import Simulator
from m3l.media.reader import KeyFrameReader

ANSWERED = pa.schema([pa.field("row", pa.string()), *PREDICTIONS])


class Answer:
    """A Ray Data actor: reads the media and asks the Simulator, a block of posts at a time."""

    def __init__(self, config: Config, past: str | None):
        self.simulator = Simulator.load(config.paths.of("bundle"))
        self.read = KeyFrameReader(config.media, config.paths.media_root) if self.simulator.retriever else None
        self.past = past

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.to_pylist()
        posts = [self._post(row) for row in rows if row["post"]]
        media = [[self.read(item) for item in post.media] if self.read else [] for post in posts]
        told = iter(self.simulator.simulate(posts, media) if posts else [])
        answers = [next(told) if r["post"] else Prediction(post_id=r["id"], error=r["error"]) for r in rows]
        return to_table([{"row": r["row"], **a.model_dump()} for r, a in zip(rows, answers, strict=True)], ANSWERED)

    def _post(self, row: dict[str, Any]) -> Post:
        post = Post.model_validate_json(row["post"])
        if self.past is None:
            return post
        return post.model_copy(update={"history": recalled(self.past, row["row"])})
