"""posts/ + media -> keyframes/: one row per media file, however many posts share it."""

import ray

from m3l.config import Config, ConfigError
from m3l.data import storage
from m3l.data.storage import claim
from m3l.media.limits import decoder_bytes, reply_bytes
from pipelines.runtime.console import Summary, console
from pipelines.runtime.session import connect
from pipelines.runtime.stage import count, todo
from pipelines.workers.frames import BEGUN, Distil

WORKER_BYTES = 2**29  # of Ray's own process, before it reads anything
BLOCK_COPIES = 3


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


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
