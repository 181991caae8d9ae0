"""-> corpus/: the synthetic posts with known truth, drawn by Ray Data workers."""

from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import ray

from m3l.config import Config, ConfigError, CorpusConfig
from m3l.corpus.truth import TRUTH
from m3l.corpus.world import World
from m3l.data import storage
from m3l.data.schemas import to_table
from m3l.data.storage import claim
from pipelines.runtime.console import Summary
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write

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
    """Draw `config.corpus.posts` posts: media/ and table/ in the challenge's columns, truth/ beside them."""
    folder = config.paths.of("corpus")
    if "://" in folder:
        raise ConfigError(f"paths.corpus: media are drawn into a local folder, not {folder}")
    claim(folder, {"seed": config.seed, "corpus": config.corpus.model_dump(mode="json")})
    connect(config.ray)
    summary = Summary("corpus", f"{folder}/truth", config.corpus.posts)
    done = list(storage.read_column(f"{folder}/truth", "post_id"))
    summary.rows_before = len(done)
    if len(done) < config.corpus.posts:
        draw = Draw(config.corpus, config.seed, folder)
        numbers = ray.data.range(
            config.corpus.posts, override_num_blocks=-(-config.corpus.posts // BLOCK_POSTS)
        ).map_batches(lambda b: b.append_column("post_id", pa.array(_names(b))), batch_format="pyarrow")
        drawn = todo(numbers, "post_id", done).map_batches(draw, batch_format="pyarrow", batch_size=None)
        write(drawn, f"{folder}/truth", TRUTH, "post_id", summary)
    return summary.show()


class Draw:
    """Draws a block of posts: writes their media and their part of the table, returns their truth."""

    def __init__(self, config: CorpusConfig, seed: int, folder: str):
        self.config, self.seed, self.folder = config, seed, folder

    def __call__(self, block: pa.Table) -> pa.Table:
        world = _world(self.config, self.seed)
        made = [world.make(index, Path(self.folder)) for index in block["id"].to_pylist()]
        if made:
            rows = to_table([post.row for post in made], ROW)
            storage.write_part(rows, f"{self.folder}/table", [str(post.row["id"]) for post in made])
        return to_table([post.truth for post in made], TRUTH)


@lru_cache(maxsize=1)
def _world(config: CorpusConfig, seed: int) -> World:
    return World.build(config, seed)


def _names(block: pa.Table) -> list[str]:
    return [str(index + 1) for index in block["id"].to_pylist()]


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
