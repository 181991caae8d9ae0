"""posts/ + media -> keyframes/: one row per media file, however many posts share it."""

import pyarrow as pa
import ray

from m3l import storage
from m3l.config import Config, ConfigError, MediaConfig
from m3l.media.keyframes import KeyFrameReader
from m3l.records import KEYFRAMES, Media, to_table
from pipelines.session import connect
from pipelines.stage import Summary, claim, todo, write


def main(config: Config) -> Summary:
    """Sample, distil and store the key frames of every media file that a post names."""
    posts, folder = config.paths.of("posts"), config.paths.of("keyframes")
    media = f"{posts}/media"
    if storage.read_json(f"{posts}/_summary.json") is None:
        raise ConfigError(f"{posts} holds no finished posts: run `m3l ingest` first")
    claim(folder, {"media": config.media.model_dump(mode="json")})
    summary = Summary("frames", folder, storage.count_rows(media), rows_before=storage.count_rows(folder))
    if summary.rows_before < summary.rows_in:
        connect(config.ray)
        listed = ray.data.read_parquet(storage.parts(media), filesystem=storage.locate(media)[0])
        rows = (
            todo(listed, "media_id", storage.read_column(folder, "media_id"))
            .repartition(target_num_rows_per_block=config.ray.block_media)
            .map_batches(
                Distil,
                fn_constructor_args=(config.media, config.paths.media_root),
                batch_format="pyarrow",
                batch_size=None,
                num_cpus=config.ray.frames_cpus,
                compute=ray.data.ActorPoolStrategy(size=config.ray.frames_workers),
            )
        )
        write(rows, folder, KEYFRAMES, "media_id", summary)
    return summary.show()


class Distil:
    """A Ray Data actor: one process that decodes, held as long as the actor lives."""

    def __init__(self, config: MediaConfig, media_root: str | None):
        self.read = KeyFrameReader(config, media_root)

    def __call__(self, block: pa.Table) -> pa.Table:
        return to_table([self.read(Media.model_validate(row)) for row in block.to_pylist()], KEYFRAMES)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
