"""The memory of a reader: told from the settings, and held by the kernel."""

import resource
from pathlib import Path

import pytest

from m3l.config import MediaConfig
from m3l.media import decode_process
from m3l.media.limits import LIBRARIES_BYTES, MAX_SIDE, PICTURES, decoder_bytes, frame_bytes, reply_bytes
from tests.support.media_reader import CONFIG, Desk


def test_memory_follows_from_the_settings() -> None:
    small = MediaConfig(max_bytes=10, max_pixels=100, max_samples=7, key_frames=3, image_height=20)
    frame = 2 * 20 * 20 + 4096
    assert frame_bytes(small) == frame
    assert decoder_bytes(small) == LIBRARIES_BYTES + 10 + PICTURES * 300 + 7 * frame
    assert reply_bytes(small) == 3 * frame + MAX_SIDE * 20
    assert 2.5 < decoder_bytes(MediaConfig()) / 2**30 < 3.5


def test_the_kernel_holds_the_decoder_to_it(desk: Desk) -> None:
    desk.assert_good()
    assert desk.decoder().rlimit(resource.RLIMIT_AS) == (decoder_bytes(CONFIG),) * 2


GREEDY = """
from m3l.media import child

def extract(path, config):
    return [(0.0, 1, 1, bytes({size}))]

child.extract = extract
child.main()
"""


@pytest.mark.parametrize(
    ("size", "error"),
    [(decoder_bytes(CONFIG), "out_of_memory: "), (reply_bytes(CONFIG), "crashed: a reply of more than ")],
)
def test_more_is_an_error_row(size: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY.format(size=size))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(decode_process, "_CHILD", "greedy")
    desk = Desk(tmp_path)
    with desk.reader:
        assert str(desk.read("good.mp4").error).startswith(error)
