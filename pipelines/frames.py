"""posts/ + media -> keyframes/: one row per media file, however many posts share it."""

import pyarrow as pa
import ray

from m3l.config import Config, ConfigError, MediaConfig
from m3l.data import storage
from m3l.data.records import Media, MediaFrames
from m3l.data.schemas import KEYFRAMES, to_table
from m3l.data.storage import claim
from m3l.media.errors import MediaError
from m3l.media.limits import decoder_bytes, reply_bytes
from m3l.media.reader import KeyFrameReader, failed
from pipelines.runtime.console import Summary, console
from pipelines.runtime.retries import Attempts
from pipelines.runtime.session import connect
from pipelines.runtime.stage import Parts, count, todo

BEGUN = "_begun"  # the folder of attempts, beside the parts
WORKER_BYTES = 2**29  # of Ray's own process, before it reads anything
BLOCK_COPIES = 3
ALONE = 2  # workers that may die reading a row, after one that died of its block, before the row is given up


def main(config: Config) -> Summary:
    """Sample, distil and store the key frames of every media file that a post names."""
    posts, folder = config.paths.of("posts"), config.paths.of("keyframes")
    media = f"{posts}/media"
    if storage.read_json(f"{posts}/_summary.json") is None:
        raise ConfigError(f"{posts} holds no finished posts: run `m3l ingest` first")
    claim(folder, {"media": config.media.model_dump(mode="json")})
    summary = Summary("frames", folder, storage.count_rows(media), rows_before=storage.count_rows(folder))
    if summary.rows_before < summary.rows_in:
        console.print(memory_line(config))
        connect(config.ray)
        listed = ray.data.read_parquet(storage.parts(media), filesystem=storage.locate(media)[0])
        written = (
            todo(listed, "media_id", storage.read_column(folder, "media_id"))
            .repartition(target_num_rows_per_block=config.ray.block_media)
            .map_batches(
                Distil,
                fn_constructor_args=(config.media, config.paths.media_root, folder),
                batch_format="pyarrow",
                batch_size=None,
                num_cpus=config.ray.frames_cpus,
                compute=ray.data.ActorPoolStrategy(size=config.ray.frames_workers),
            )
        )
        count(written, summary)
        storage.remove(f"{folder}/{BEGUN}")
    return summary.show()


def worker_bytes(config: Config) -> int:
    """The memory of one worker at most: Ray's process, the one that decodes, a block as rows, as Arrow and encoded."""
    block = config.ray.block_media * reply_bytes(config.media)
    return WORKER_BYTES + decoder_bytes(config.media) + BLOCK_COPIES * block


def memory_line(config: Config) -> str:
    workers, each, decoder = config.ray.frames_workers, worker_bytes(config), decoder_bytes(config.media)
    return (
        f"[bold]frames[/]: {workers} workers of at most {each / 2**30:.1f} GiB each, "
        f"{decoder / 2**30:.1f} of them to decode (media.max_pixels, max_bytes, max_samples), "
        f"the others for blocks of {config.ray.block_media} media (ray.block_media)"
    )


class Distil:
    """A Ray Data actor that reads a block of media and writes it as one part, all that a kill can undo.

    A block that a worker began and never ended is read with each row's attempts on record, and a row that ALONE more
    workers die of becomes an error: Ray, left to itself, would start workers for it for ever.
    """

    def __init__(self, config: MediaConfig, media_root: str | None, folder: str):
        self.read = KeyFrameReader(config, media_root)
        self.write = Parts(folder, KEYFRAMES, "media_id")
        self.blocks, self.rows = Attempts(f"{folder}/{BEGUN}/blocks"), Attempts(f"{folder}/{BEGUN}/rows")

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = [Media.model_validate(row) for row in block.to_pylist()]
        ids = [row.media_id for row in rows]
        died = self.blocks.unended(ids)
        if died > 1 + ALONE * len(rows):
            raise RuntimeError(f"{died} workers died of a block, and not of reading any row of it")
        with self.blocks.attempt(ids):
            read = self._alone if died else self.read
            return self.write(to_table([read(row) for row in rows], KEYFRAMES))

    def _alone(self, media: Media) -> MediaFrames:
        died = self.rows.unended([media.media_id])
        if died >= ALONE:
            return failed(media, MediaError("crashed", f"{died} workers died reading it"))
        with self.rows.attempt([media.media_id]):
            return self.read(media)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
