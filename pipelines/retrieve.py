"""posts/ + keyframes/ -> context/: for each post and task, the key frames that fit its prompt best."""

import tempfile
from pathlib import Path

import pyarrow as pa
import ray
import torch

from m3l import storage
from m3l.config import Config, ConfigError
from m3l.records import CONTEXT, MediaFrames, Post, to_table
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import contexts
from m3l.store import open_store
from pipelines.session import connect
from pipelines.stage import Summary, claim, todo, write


def main(config: Config) -> Summary:
    """Retrieve `retriever.top_k` frames for every task of every post: posts x tasks = rows out."""
    posts, folder, retriever = (config.paths.of(name) for name in ("posts", "context", "retriever"))
    if not storage.parts(posts):
        raise ConfigError(f"{posts} holds no posts: run `m3l ingest` first")
    if storage.read_text(f"{retriever}/retriever.json") is None:
        raise ConfigError(f"{retriever} holds no retriever: run `m3l train-retriever` first")
    made = config.model_dump(mode="json")
    claim(folder, {name: made[name] for name in ("seed", "tasks", "retriever")})
    wanted, before = storage.count_rows(posts) * len(config.tasks), storage.count_rows(folder)
    summary = Summary("retrieve", folder, wanted, rows_before=before)
    if before < wanted:
        connect(config.ray)
        rows = ray.data.read_parquet(storage.parts(posts), filesystem=storage.locate(posts)[0])
        found = (
            todo(rows, "post_id", storage.read_column(folder, "post_id"))
            .repartition(target_num_rows_per_block=config.ray.block_rows)
            .map_batches(
                Retrieve,
                fn_constructor_args=(config,),
                batch_format="pyarrow",
                batch_size=None,
                num_cpus=config.ray.clip_cpus,
                num_gpus=config.ray.clip_gpus or None,
                compute=ray.data.ActorPoolStrategy(size=config.ray.clip_workers),
            )
        )
        write(found, folder, CONTEXT, "post_id", summary)
    return summary.show()


class Retrieve:
    """A Ray Data actor: the retriever on its device and the key frames by name, a block of posts at a time."""

    def __init__(self, config: Config):
        torch.set_num_threads(max(1, int(config.ray.clip_cpus)))
        with tempfile.TemporaryDirectory() as local:
            self.retriever = Retriever.load(storage.download(config.paths.of("retriever"), Path(local)))
        self.retriever.to("cuda" if config.ray.clip_gpus else "cpu")
        self.config = config
        self.keyframes = open_store(config.paths.of("keyframes"), "media_id")

    def __call__(self, block: pa.Table) -> pa.Table:
        posts = [Post.model_validate(row) for row in block.to_pylist()]
        media = [self._media(post) for post in posts]
        found = contexts(self.retriever, self.config.tasks, posts, media, self.config.retriever)
        return to_table([context for tasks in found for context in tasks.values()], CONTEXT)

    def _media(self, post: Post) -> list[MediaFrames]:
        return [
            MediaFrames.model_validate(rows[0])
            if (rows := self.keyframes.get(media.media_id))
            else MediaFrames(**media.model_dump(), media_id=media.media_id, error="no key frames")
            for media in post.media
        ]


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
