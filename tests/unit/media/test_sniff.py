"""Formats are detected from bytes; texts that FFmpeg would follow are rejected."""

import os
from pathlib import Path

import pytest
from PIL import Image

from m3l.media.errors import MediaError
from m3l.media.sniff import sniff
from tests.support.clips import numbered, write_gif, write_video
from tests.support.hostile_files import TEXTS


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("mov.mp4", "libx264"),
        ("mov.mov", "libx264"),
        ("matroska.webm", "libvpx"),
        ("mpegts.ts", "libx264"),
        ("avi.avi", "mpeg4"),
    ],
)
def test_video_formats_are_detected_from_bytes(name: str, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, [0, 40, 80], codec).rename(tmp_path / "no_extension")
    assert sniff(path) == name.split(".")[0]


def test_image_formats_are_detected_from_bytes(tmp_path: Path) -> None:
    assert sniff(write_gif(tmp_path / "a.mp4", [50, 50])) == "gif"
    for format in ("jpeg", "png", "webp"):
        Image.fromarray(numbered(0)).save(tmp_path / "a.mp4", format)
        assert sniff(tmp_path / "a.mp4") == format


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_not_media(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text(TEXTS[name])
    with pytest.raises(MediaError) as caught:
        sniff(tmp_path / "a.mp4")
    assert caught.value.kind == "not_media"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("pipe.mp4", ".", "missing.mp4"):
        with pytest.raises(MediaError) as caught:
            sniff(tmp_path / name)
        assert caught.value.kind == "not_found"
