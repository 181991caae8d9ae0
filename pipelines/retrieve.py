"""posts/ + keyframes/ -> embeddings/ -> context/: for each post and task, the key frames that fit its prompt best."""

from collections.abc import Callable

import pyarrow as pa
from ray.data import Dataset

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.schemas import CONTEXT, EMBEDDINGS
from m3l.retriever.embeddings import Kind, row_key
from pipelines.runtime.console import Summary
from pipelines.runtime.stage import Resources, Stage, read_parts
from pipelines.workers.embed import Embed
from pipelines.workers.rank import Rank


def main(config: Config) -> Summary:
    """Embed every key frame and prompt once, then keep `retriever.top_k` frames for every task of every post.

    Raises:
        ConfigError: There are no posts or no retriever, or a folder was written with other settings.
    """
    posts, retriever = config.paths.of("posts"), config.paths.of("retriever")
    if not storage.parts(posts):
        raise ConfigError(f"{posts} holds no posts: run `m3l ingest` first")
    settings = f"{retriever}/retriever.json"
    if storage.read_text(settings) is None:
        raise ConfigError(f"{retriever} holds no retriever: run `m3l train-retriever` first")
    weights = storage.digest(f"{retriever}/model.safetensors", settings)
    embed_stage(config, weights).run(config.ray)
    return rank_stage(config, weights).run(config.ray)


def embed_stage(config: Config, weights: str) -> Stage:
    """Every key frame and every prompt through CLIP, once: a row for each media file and one for each post.

    Args:
        config: Folders, tasks and resources.
        weights: Digest of the retriever.
    """
    posts, keyframes = config.paths.of("posts"), config.paths.of("keyframes")
    return Stage(
        name="embed",
        input=_embedding_keys(posts, keyframes),
        rows=storage.count_rows(keyframes) + storage.count_rows(posts),
        key="key",
        worker=Embed,
        arguments=(config,),
        output=config.paths.of("embeddings"),
        schema=EMBEDDINGS,
        resources=Resources(config.ray.clip_cpus, config.ray.clip_gpus, pool=config.ray.clip_workers),
        block_rows=config.ray.block_rows,
        settings=config.model_dump(mode="json", include={"media", "tasks"}) | {"weights": weights},
    )


def rank_stage(config: Config, weights: str) -> Stage:
    """Each task's prompt against the key frames of its post: a row for each post and task.

    Args:
        config: Folders, tasks and resources.
        weights: Digest of the retriever that embedded.
    """
    posts = config.paths.of("posts")
    return Stage(
        name="retrieve",
        input=posts,
        rows=storage.count_rows(posts) * len(config.tasks),
        key="post_id",
        worker=Rank(config),
        output=config.paths.of("context"),
        schema=CONTEXT,
        block_rows=config.ray.block_rows,
        settings=config.model_dump(mode="json", include={"seed", "tasks", "retriever"}) | {"weights": weights},
    )


def _embedding_keys(posts: str, keyframes: str) -> Callable[[], Dataset]:
    """The names of all posts and media files, and the keys that EMBEDDINGS has for them."""

    def read() -> Dataset:
        rows = _keys(posts, "post_id", "post")
        return rows.union(_keys(keyframes, "media_id", "media")) if storage.parts(keyframes) else rows

    return read


def _keys(folder: str, column: str, kind: Kind) -> Dataset:
    def add_keys(block: pa.Table) -> pa.Table:
        names = block[column].to_pylist()
        return pa.table({"key": [row_key(kind, name) for name in names], "kind": [kind] * len(names), "name": names})

    return read_parts(folder, [column]).map_batches(
        add_keys, batch_format="pyarrow", batch_size=None, zero_copy_batch=True
    )


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
