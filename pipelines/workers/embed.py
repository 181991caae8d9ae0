"""The actor that embeds key frames and metadata prompts with CLIP."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from m3l.config import Config
from m3l.data import storage
from m3l.data.keyed_rows import open_rows
from m3l.data.records import Post
from m3l.data.schemas import EMBEDDINGS, to_table
from m3l.prompts.render import metadata_prompt
from m3l.retriever.clip import Retriever
from m3l.retriever.embeddings import embedding_row, row_key


class Embed:
    """A Ray Data actor that turns blocks of names of media files and posts into rows of EMBEDDINGS.

    Args:
        config: Folders of the retriever, posts and key frames; tasks; CPUs and GPUs of an actor.
    """

    def __init__(self, config: Config):
        torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
        with tempfile.TemporaryDirectory() as local:
            self.retriever = Retriever.load(storage.local_copy(config.paths.of("retriever"), Path(local)))
        self.retriever.to("cuda" if config.ray.clip_gpus else "cpu").freeze_for_inference()
        self.tasks, self.posts, self.keyframes = config.tasks, config.paths.of("posts"), config.paths.of("keyframes")

    def __call__(self, block: pa.Table) -> pa.Table:
        media, posts = ([row["name"] for row in block.to_pylist() if row["kind"] == kind] for kind in ("media", "post"))
        return to_table(
            [*(self._embed_media(media) if media else ()), *(self._embed_prompts(posts) if posts else ())], EMBEDDINGS
        )

    def _embed_media(self, names: list[str]) -> list[dict[str, Any]]:
        rows = open_rows(self.keyframes, "media_id")
        images = [[frame["image"] for frame in rows[name][0]["frames"]] for name in names]
        vectors = self.retriever.image_embeddings([image for frames in images for image in frames])
        ends = np.cumsum([len(frames) for frames in images], dtype=int)
        parts = np.split(vectors, ends[:-1])
        return [embedding_row(row_key("media", name), own) for name, own in zip(names, parts, strict=True)]

    def _embed_prompts(self, names: list[str]) -> list[dict[str, Any]]:
        rows = open_rows(self.posts, "post_id")
        posts = [Post.model_validate(rows[name][0]) for name in names]
        vectors = self.retriever.query_embeddings(
            [metadata_prompt(task, post) for post in posts for task in self.tasks]
        )
        parts = np.split(vectors, len(names))
        return [embedding_row(row_key("post", name), own) for name, own in zip(names, parts, strict=True)]
