"""The memory of the decoder process: computed from the settings and enforced by the kernel."""

import resource
from pathlib import Path

import pytest

from m3l.config import MediaConfig
from m3l.media import decode_process
from m3l.media.limits import (
    FULL_SIZE_PICTURES,
    LIBRARY_BYTES,
    MAX_SIDE,
    decoder_memory_bytes,
    max_frame_bytes,
    max_reply_bytes,
)
from tests.support.media_reader import CONFIG, ReaderHarness


def test_memory_limits_are_computed_from_the_settings() -> None:
    small = MediaConfig(max_bytes=10, max_pixels=100, max_samples=7, key_frames=3, image_height=20)
    frame = 2 * 20 * 20 + 4096
    assert max_frame_bytes(small) == frame
    assert decoder_memory_bytes(small) == LIBRARY_BYTES + 10 + FULL_SIZE_PICTURES * 300 + 7 * frame
    assert max_reply_bytes(small) == 3 * frame + MAX_SIDE * 20
    assert 2.5 < decoder_memory_bytes(MediaConfig()) / 2**30 < 3.5


def test_the_kernel_enforces_the_memory_limit(harness: ReaderHarness) -> None:
    harness.assert_still_works()
    assert harness.decoder_process().rlimit(resource.RLIMIT_AS) == (decoder_memory_bytes(CONFIG),) * 2


GREEDY = """
from m3l.media import decode_worker

def extract(path, config):
    return [(0.0, 1, 1, bytes({size}))]

decode_worker.extract = extract
decode_worker.main()
"""


@pytest.mark.parametrize(
    ("size", "error"),
    [(decoder_memory_bytes(CONFIG), "out_of_memory: "), (max_reply_bytes(CONFIG), "crashed: a reply of more than ")],
)
def test_exceeding_a_limit_is_an_error_row(
    size: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY.format(size=size))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(decode_process, "_WORKER_MODULE", "greedy")
    harness = ReaderHarness(tmp_path)
    with harness.reader:
        assert str(harness.read("good.mp4").error).startswith(error)
