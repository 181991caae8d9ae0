"""What the stage `frames` says before it starts."""

from m3l.config import load
from m3l.media.limits import decoder_bytes, reply_bytes
from pipelines.frames import BLOCK_COPIES, WORKER_BYTES, memory_line, worker_bytes


def test_the_memory_of_a_worker_follows_from_the_settings() -> None:
    config = load("tiny", ["ray.block_media=4", "ray.frames_workers=3", "media.max_samples=100"])
    decoder, block = decoder_bytes(config.media), 4 * reply_bytes(config.media)
    assert worker_bytes(config) == WORKER_BYTES + decoder + BLOCK_COPIES * block
    assert f"3 workers of at most {worker_bytes(config) / 2**30:.1f} GiB each" in memory_line(config)
