"""What a stage says: `frames` before it starts, and all of them on their way."""

import pytest

from m3l.config import load
from m3l.media.limits import decoder_bytes, reply_bytes
from pipelines.frames import BLOCK_COPIES, WORKER_BYTES, memory_line, worker_bytes
from pipelines.runtime.console import progress


def test_the_memory_of_a_worker_follows_from_the_settings() -> None:
    config = load("tiny", ["ray.block_media=4", "ray.frames_workers=3", "media.max_samples=100"])
    decoder, block = decoder_bytes(config.media), 4 * reply_bytes(config.media)
    assert worker_bytes(config) == WORKER_BYTES + decoder + BLOCK_COPIES * block
    assert f"3 workers of at most {worker_bytes(config) / 2**30:.1f} GiB each" in memory_line(config)


@pytest.mark.parametrize(("total", "line"), [(None, "ingest: 2,000"), (9000, "ingest: 2,000 of 9,000")])
def test_a_long_stage_tells_its_progress_where_there_is_no_terminal(
    total: int | None, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("ingest", total) as advance:
        monkeypatch.setattr(advance, "shown", -1000.0)  # long ago
        advance(2000)
    assert line in capsys.readouterr().err
