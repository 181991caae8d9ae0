"""keyframes/ + posts/ -> embeddings/: every key frame and every prompt through CLIP, once, in one pool of actors."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.data import Dataset

from m3l.config import Config
from m3l.data import storage
from m3l.data.keyed_rows import open_store
from m3l.data.records import Post
from m3l.data.schemas import EMBEDDINGS, to_table
from m3l.data.storage import claim
from m3l.prompts.render import metadata
from m3l.retriever.clip import Retriever
from m3l.retriever.embeddings import Kind, key, packed
from pipelines.runtime.console import Summary
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write


def embed(config: Config, weights: str) -> Summary:
    """Fill `paths.embeddings`: a row for each media file and one for each post; `weights` is the retriever's digest."""
    posts, keyframes, folder = (config.paths.of(name) for name in ("posts", "keyframes", "embeddings"))
    made = config.model_dump(mode="json")
    claim(folder, {"media": made["media"], "tasks": made["tasks"], "weights": weights})
    wanted = storage.count_rows(keyframes) + storage.count_rows(posts)
    summary = Summary("embed", folder, wanted, rows_before=storage.count_rows(folder))
    if summary.rows_before < wanted:
        connect(config.ray)
        keys = [_keys(posts, "post_id", "post")]
        if storage.parts(keyframes):
            keys.append(_keys(keyframes, "media_id", "media"))
        embedded = (
            todo(keys[0].union(*keys[1:]), "key", storage.read_column(folder, "key"))
            .repartition(target_num_rows_per_block=config.ray.block_rows)
            .map_batches(
                Embed,
                fn_constructor_args=(config,),
                batch_format="pyarrow",
                batch_size=None,
                num_cpus=config.ray.clip_cpus,
                num_gpus=config.ray.clip_gpus or None,
                compute=ray.data.ActorPoolStrategy(size=config.ray.clip_workers),
            )
        )
        write(embedded, folder, EMBEDDINGS, "key", summary)
    return summary.show()


class Embed:
    """A Ray Data actor: the retriever on its device, and the key frames and posts by name, a block at a time."""

    def __init__(self, config: Config):
        torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
        with tempfile.TemporaryDirectory() as local:
            self.retriever = Retriever.load(storage.download(config.paths.of("retriever"), Path(local)))
        self.retriever.to("cuda" if config.ray.clip_gpus else "cpu").frozen()
        self.tasks, self.posts, self.keyframes = config.tasks, config.paths.of("posts"), config.paths.of("keyframes")

    def __call__(self, block: pa.Table) -> pa.Table:
        media, posts = ([row["name"] for row in block.to_pylist() if row["kind"] == kind] for kind in ("media", "post"))
        return to_table([*(self._media(media) if media else ()), *(self._prompts(posts) if posts else ())], EMBEDDINGS)

    def _media(self, names: list[str]) -> list[dict[str, Any]]:
        known = open_store(self.keyframes, "media_id")
        images = [[frame["image"] for frame in known[name][0]["frames"]] for name in names]
        vectors = self.retriever.stored_images([image for frames in images for image in frames])
        ends = np.cumsum([len(frames) for frames in images], dtype=int)
        parts = np.split(vectors, ends[:-1])
        return [packed(key("media", name), own) for name, own in zip(names, parts, strict=True)]

    def _prompts(self, names: list[str]) -> list[dict[str, Any]]:
        known = open_store(self.posts, "post_id")
        posts = [Post.model_validate(known[name][0]) for name in names]
        vectors = self.retriever.stored_texts([metadata(task, post) for post in posts for task in self.tasks])
        parts = np.split(vectors, len(names))
        return [packed(key("post", name), own) for name, own in zip(names, parts, strict=True)]


def _keys(folder: str, column: str, kind: Kind) -> Dataset:
    """What EMBEDDINGS calls the rows of a folder."""
    rows = ray.data.read_parquet(storage.parts(folder), filesystem=storage.locate(folder)[0], columns=[column])

    def named(block: pa.Table) -> pa.Table:
        names = block[column].to_pylist()
        return pa.table({"key": [key(kind, name) for name in names], "kind": [kind] * len(names), "name": names})

    return rows.map_batches(named, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
