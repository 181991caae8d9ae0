"""posts/ + keyframes/ + retriever/ -> context/: the frames that fit each post and task."""


import pyarrow as pa
import ray

from m3l import storage
from m3l.config import Config, ConfigError
from m3l.records import CONTEXT, Post, to_table
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import contexts
from m3l.store import open_store
from pipelines.examples import key_frames
from pipelines.session import connect
from pipelines.stage import Summary, actor, claim, todo, write

BLOCK_POSTS = 64


def main(config: Config) -> Summary:
    """Rank every post's key frames for every task; one row per post and task, at most `retriever.top_k` frames."""
    paths, folder = config.paths, config.paths.of("context")
    if not storage.parts(paths.of("keyframes")):
        raise ConfigError(f"{paths.of('keyframes')} holds no key frames: run `m3l frames` first")
    settings = config.model_dump(mode="json")
    claim(folder, {"retriever": settings["retriever"], "tasks": settings["tasks"]})
    posts = list(storage.read_column(paths.of("posts"), "post_id"))
    done = set(storage.read_column(folder, "post_id"))
    tasks = len(config.tasks)
    summary = Summary("retrieve", folder, len(posts) * tasks, rows_before=len(done) * tasks)
    if len(done) < len(posts):
        connect(config.ray)
        ids = ray.data.from_items([{"post_id": i} for i in posts], override_num_blocks=-(-len(posts) // BLOCK_POSTS))
        rows = todo(ids, "post_id", done).map_batches(
            actor(Retrieve, config),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=config.ray.clip_cpus,
            num_gpus=config.ray.clip_gpus or None,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=config.ray.clip_workers),
        )
        write(rows, folder, CONTEXT, "post_id", summary)
    return summary.show()


class Retrieve:
    """A Ray Data actor that holds the retriever; each frame is embedded once for all tasks."""

    def __init__(self, config: Config):
        import torch

        self.config = config
        device = torch.device("cuda" if config.ray.clip_gpus else "cpu")
        self.retriever = Retriever.load(storage.fetched(config.paths.of("retriever"))).to(device)

    def __call__(self, block: pa.Table) -> pa.Table:
        paths = self.config.paths
        store = open_store(paths.of("posts"), "post_id")
        posts = [Post.model_validate(store[i][0]) for i in block["post_id"].to_pylist()]
        media = [list(key_frames(paths.of("keyframes"), post)) for post in posts]
        found = contexts(self.retriever, self.config.tasks, posts, media, self.config.retriever.top_k)
        return to_table([context for told in found for context in told.values()], CONTEXT)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
