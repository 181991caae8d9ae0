"""Images: rotated upright, on white, and checked for size before they are decoded."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3l.config import MediaConfig
from m3l.media.errors import MediaError
from m3l.media.images import read_image, sample_image
from tests.support.clips import number, numbered
from tests.support.hostile_files import png

CONFIG = MediaConfig()
EXIF_ORIENTATION = 0x0112


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # to be rotated by 90 degrees clockwise
    picture = numbered(5)
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "png", CONFIG), np.rot90(picture, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    image.convert(mode).save(tmp_path / "a.png")
    frame = read_image(tmp_path / "a.png", "png", CONFIG)
    assert frame[0, 0].tolist() == [0, 0, 0]
    assert (frame[1:] == 255).all()


def test_16_bit_images_are_scaled_to_8_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", "png", CONFIG)[0, :, 0].tolist() == [0, 0x80, 0xFF]


@pytest.mark.parametrize("side", [5_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(side, side))
    with pytest.raises(MediaError) as caught:
        read_image(tmp_path / "bomb.png", "png", CONFIG)
    assert caught.value.kind == "too_many_pixels"


def test_a_truncated_image_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(numbered(1)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-200])
    with pytest.raises(MediaError, match="bad_container"):
        read_image(tmp_path / "b.jpg", "jpeg", CONFIG)


def test_an_animated_webp_is_sampled_like_a_video(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(numbered(index)) for index in range(20))
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=100, lossless=True)
    samples = list(sample_image(tmp_path / "a.webp", "webp", CONFIG).frames)
    assert [number(picture) for _, picture in samples] == [0, 5, 10, 15]
    assert [time for time, _ in samples] == pytest.approx([0, 0.5, 1.0, 1.5])
