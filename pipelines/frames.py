"""posts/ + media -> keyframes/: one row per media file, however many posts share it."""

from collections.abc import Iterator

import pyarrow as pa
import ray

from m3l import storage
from m3l.config import Config, ConfigError, MediaConfig
from m3l.media.keyframes import KeyFrameReader
from m3l.records import KEYFRAMES, Media, to_table
from pipelines.session import connect
from pipelines.stage import Summary, claim, write

BLOCK_MEDIA = 16  # about a second of work or more: the unit of retry


def main(config: Config) -> Summary:
    """Sample, distil and store the key frames of every media file that a post names."""
    posts, folder = config.paths.of("posts"), config.paths.of("keyframes")
    if not storage.parts(posts):
        raise ConfigError(f"{posts} holds no posts: run `m3l ingest` first")
    claim(folder, {"media": config.media.model_dump(mode="json")})
    done = set(storage.read_column(folder, "media_id"))
    media = list(_todo(posts, done))
    summary = Summary("frames", folder, len(media) + len(done), rows_before=len(done))
    if media:
        connect(config.ray)
        rows = ray.data.from_items(
            [m.model_dump() for m in media], override_num_blocks=-(-len(media) // BLOCK_MEDIA)
        ).map_batches(
            Distil,
            fn_constructor_args=(
                config.media,
                config.paths.media_root,
            ),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=config.ray.frames_cpus,
            compute=ray.data.ActorPoolStrategy(size=config.ray.frames_workers),
        )
        write(rows, folder, KEYFRAMES, "media_id", summary)
    return summary.show()


class Distil:
    """A Ray Data actor: one process that decodes, held as long as the actor lives."""

    def __init__(self, config: MediaConfig, media_root: str | None):
        self.read = KeyFrameReader(config, media_root)

    def __call__(self, block: pa.Table) -> pa.Table:
        return to_table([self.read(Media.model_validate(row)) for row in block.to_pylist()], KEYFRAMES)


def _todo(posts: str, done: set[str]) -> Iterator[Media]:
    seen = set(done)
    for row in storage.read_rows(posts, ["media"], batch_rows=4096):
        for item in row["media"] or []:
            media = Media.model_validate(item)
            if media.media_id not in seen:
                seen.add(media.media_id)
                yield media


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
