"""posts/ + media -> keyframes/: one row per media file, however many posts share it."""

from m3l.config import Config, ConfigError, MediaConfig
from m3l.data import storage
from m3l.media.limits import decoder_memory_bytes, max_reply_bytes
from pipelines.runtime.console import Summary, console
from pipelines.runtime.stage import Resources, Stage
from pipelines.workers.frames import ATTEMPTS, ExtractKeyFrames

WORKER_BYTES = 2**29  # of Ray's own process, before it reads anything
BLOCK_COPIES = 3


def main(config: Config) -> Summary:
    """Extract and store the key frames of every media file that a post names.

    Raises:
        ConfigError: There are no posts, or the folder was written with other settings.
    """
    posts, folder = config.paths.of("posts"), config.paths.of("keyframes")
    if storage.read_json(f"{posts}/_summary.json") is None:
        raise ConfigError(f"{posts} holds no finished posts: run `m3l ingest` first")
    stage = Stage(
        name="frames",
        input=f"{posts}/media",
        rows=storage.count_rows(f"{posts}/media"),
        key="media_id",
        worker=ExtractKeyFrames,
        arguments=(config.media, config.paths.media_root, folder),
        output=folder,
        resources=Resources(cpus=config.ray.frames_cpus, pool=config.ray.frames_workers),
        block_rows=config.ray.block_media,
        settings={"media": config.media.model_dump(mode="json")},
    )
    if stage.pending() > 0:
        console.print(memory_line(config.media, config.ray.frames_workers, config.ray.block_media))
    summary = stage.run(config.ray)
    storage.remove(f"{folder}/{ATTEMPTS}")
    return summary


def worker_bytes(media: MediaConfig, block_media: int) -> int:
    """The memory of one worker at most: Ray's process, the decoder, and a block as rows, as Arrow and encoded.

    Args:
        media: Limits of a media file.
        block_media: Media files in a block.
    """
    return WORKER_BYTES + decoder_memory_bytes(media) + BLOCK_COPIES * block_media * max_reply_bytes(media)


def memory_line(media: MediaConfig, workers: int, block_media: int) -> str:
    """What the workers take of memory, and which settings decide it."""
    return (
        f"[bold]frames[/]: {workers} workers of at most {worker_bytes(media, block_media) / 2**30:.1f} GiB each, "
        f"{decoder_memory_bytes(media) / 2**30:.1f} of them to decode (media.max_pixels, max_bytes, max_samples), "
        f"the others for blocks of {block_media} media (ray.block_media)"
    )


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
