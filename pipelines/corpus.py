"""-> corpus/: synthetic posts with ground truth, drawn by Ray Data workers."""

from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
import ray
from ray.data import Dataset

from m3l.config import Config, ConfigError, CorpusConfig
from m3l.corpus.truth import TRUTH
from m3l.corpus.world import World
from m3l.data import storage
from m3l.data.folder_settings import check_settings
from m3l.data.schemas import to_table
from pipelines.runtime.console import Summary
from pipelines.runtime.stage import Stage

BLOCK_POSTS = 32
ROW = pa.schema(
    [
        ("id", pa.int64()),
        ("date", pa.string()),
        ("likes", pa.int64()),
        ("content", pa.string()),
        ("username", pa.string()),
        ("media", pa.string()),
        ("inferred company", pa.string()),
        ("split", pa.string()),
    ]
)


def main(config: Config) -> Summary:
    """Draw `config.corpus.posts` posts: media/ and table/ in the challenge's columns, truth/ beside them.

    Raises:
        ConfigError: The folder is not local, or was written with other settings.
    """
    folder = config.paths.of("corpus")
    if "://" in folder:
        raise ConfigError(f"paths.corpus: media are drawn into a local folder, not {folder}")
    check_settings(folder, {"seed": config.seed, "corpus": config.corpus.model_dump(mode="json")})
    return Stage(
        name="corpus",
        input=partial(_numbers, config.corpus.posts),
        rows=config.corpus.posts,
        key="post_id",
        worker=DrawPosts(config.corpus, config.seed, folder),
        output=f"{folder}/truth",
        schema=TRUTH,
    ).run(config.ray)


class DrawPosts:
    """Draws a block of posts: writes their media and their part of the table, returns their truth.

    Args:
        config: What the posts are like.
        seed: Seed of the world that they are from.
        folder: Local folder of the corpus.
    """

    def __init__(self, config: CorpusConfig, seed: int, folder: str):
        self.config, self.seed, self.folder = config, seed, folder

    def __call__(self, block: pa.Table) -> pa.Table:
        world = _world(self.config, self.seed)
        posts = [world.write_post(index, Path(self.folder)) for index in block["id"].to_pylist()]
        if posts:
            rows = to_table([post.row for post in posts], ROW)
            storage.write_part(rows, f"{self.folder}/table", [str(post.row["id"]) for post in posts])
        return to_table([post.truth for post in posts], TRUTH)


@lru_cache(maxsize=1)
def _world(config: CorpusConfig, seed: int) -> World:
    return World.build(config, seed)


def _numbers(posts: int) -> Dataset:
    """The number and the id of each post, in blocks of BLOCK_POSTS."""
    numbers = ray.data.range(posts, override_num_blocks=-(-posts // BLOCK_POSTS))
    return numbers.map_batches(_add_ids, batch_format="pyarrow")


def _add_ids(block: pa.Table) -> pa.Table:
    return block.append_column("post_id", pa.array([str(index + 1) for index in block["id"].to_pylist()]))


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
