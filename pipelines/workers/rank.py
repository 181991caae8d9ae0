"""embeddings/ -> context/: each task's prompt against the key frames of its post. Light: its workers load no CLIP."""

from functools import lru_cache
from uuid import uuid4

import pyarrow as pa
import ray

from m3l.config import Config
from m3l.data import storage
from m3l.data.keyed_rows import Store
from m3l.data.records import Context, Media, MediaFrames, Post
from m3l.data.schemas import CONTEXT, to_table
from m3l.data.storage import claim
from m3l.retriever.embeddings import Embeddings
from m3l.retriever.ranking import post_contexts
from pipelines.runtime.console import Summary
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write


def rank(config: Config, weights: str) -> Summary:
    """Fill `paths.context`: posts x tasks = rows; `weights` is the digest of the retriever that embedded."""
    posts, folder = config.paths.of("posts"), config.paths.of("context")
    made = config.model_dump(mode="json")
    claim(folder, {name: made[name] for name in ("seed", "tasks", "retriever")} | {"weights": weights})
    wanted = storage.count_rows(posts) * len(config.tasks)
    summary = Summary("retrieve", folder, wanted, rows_before=storage.count_rows(folder))
    if summary.rows_before < wanted:
        connect(config.ray)
        rows = ray.data.read_parquet(storage.parts(posts), filesystem=storage.locate(posts)[0])
        found = (
            todo(rows, "post_id", storage.read_column(folder, "post_id"))
            .repartition(target_num_rows_per_block=config.ray.block_rows)
            .map_batches(Rank(config), batch_format="pyarrow", batch_size=None, num_cpus=1)
        )
        write(found, folder, CONTEXT, "post_id", summary)
    return summary.show()


class Rank:
    """Blocks of posts -> CONTEXT; travels to the tasks that call it."""

    def __init__(self, config: Config):
        self.config = config
        self.run = uuid4().hex  # workers outlive a stage, and another one must see what the folders hold by then

    def __call__(self, block: pa.Table) -> pa.Table:
        names = [task.name for task in self.config.tasks]
        keyframes, embeddings = _opened(self.run, *(self.config.paths.of(n) for n in ("keyframes", "embeddings")))
        found: list[Context] = []
        for row in block.to_pylist():
            post = Post.model_validate(row)
            files = [_key_frames(keyframes, media) for media in post.media]
            prompts, frames = embeddings.prompts(post.post_id), embeddings.frames(files)
            found += post_contexts(post.post_id, names, files, prompts, frames, self.config.retriever).values()
        return to_table(found, CONTEXT)


def _key_frames(keyframes: Store, media: Media) -> MediaFrames:
    if rows := keyframes.get(media.media_id):
        return MediaFrames.model_validate(rows[0])
    return MediaFrames(**media.model_dump(), media_id=media.media_id, error="no key frames")


@lru_cache(maxsize=1)
def _opened(run: str, keyframes: str, embeddings: str) -> tuple[Store, Embeddings]:
    return Store(keyframes, "media_id"), Embeddings(embeddings)
