"""The task that ranks the key frames of posts by their stored embeddings; its workers load no CLIP."""

from functools import lru_cache
from uuid import uuid4

import pyarrow as pa

from m3l.config import Config
from m3l.data.keyed_rows import KeyedRows
from m3l.data.records import Context, Media, MediaFrames, Post
from m3l.data.schemas import CONTEXT, to_table
from m3l.retriever.embeddings import EmbeddingStore
from m3l.retriever.ranking import post_contexts


class Rank:
    """Turns blocks of posts into rows of CONTEXT; pickled into the Ray tasks that call it.

    Args:
        config: Folders of the key frames and embeddings; tasks; how many frames, how diverse.
    """

    def __init__(self, config: Config):
        self.config = config
        self.run = uuid4().hex  # Ray reuses workers: a later stage must not see the cached index of this one

    def __call__(self, block: pa.Table) -> pa.Table:
        names = [task.name for task in self.config.tasks]
        keyframes, embeddings = _open_folders(self.run, *(self.config.paths.of(n) for n in ("keyframes", "embeddings")))
        contexts: list[Context] = []
        for row in block.to_pylist():
            post = Post.model_validate(row)
            files = [_key_frames(keyframes, media) for media in post.media]
            prompts, frames = embeddings.prompts(post.post_id), embeddings.frames(files)
            contexts += post_contexts(post.post_id, names, files, prompts, frames, self.config.retriever).values()
        return to_table(contexts, CONTEXT)


def _key_frames(keyframes: KeyedRows, media: Media) -> MediaFrames:
    if rows := keyframes.get(media.media_id):
        return MediaFrames.model_validate(rows[0])
    return MediaFrames(**media.model_dump(), media_id=media.media_id, error="no key frames")


@lru_cache(maxsize=1)
def _open_folders(run: str, keyframes: str, embeddings: str) -> tuple[KeyedRows, EmbeddingStore]:
    """The indexes of the two folders, once per worker and stage; `run` names the stage."""
    return KeyedRows(keyframes, "media_id"), EmbeddingStore(embeddings)
