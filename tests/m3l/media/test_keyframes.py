"""Whatever the media file is, the answer is a row, with frames or an error, in bounded time."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from m3l.config import MediaConfig
from m3l.media.keyframes import KeyFrameReader
from m3l.records import Media, MediaFrames

from .clips import TEXTS, gif_bomb, number, numbered, png_header, write_gif, write_video

CONFIG = MediaConfig(decode_timeout_s=3, key_frames=8, stride_s=0.25, image_height=48)


class Desk:
    """A reader, the folder that it reads in, and a good video in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reader = KeyFrameReader(CONFIG, str(root))
        write_video(root / "good.mp4", [index * 50 for index in range(100)])

    def read(self, name: str) -> MediaFrames:
        return self.reader(Media(kind="video", url=name))

    def assert_good(self) -> None:
        frames = self.read("good.mp4")
        assert frames.error is None
        assert len(frames.frames) == 8


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("media"))
    with desk.reader:
        yield desk


def pictures(frames: MediaFrames) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(frame.image))) for frame in frames.frames]


def test_a_video_gives_small_jpegs_in_time_order(desk: Desk) -> None:
    row = desk.read("good.mp4")
    times = [frame.time_s for frame in row.frames]
    assert times == sorted(set(times))
    assert [number(picture) for picture in pictures(row)] == [round(time / 0.05) for time in times]
    assert {picture.shape for picture in pictures(row)} == {(48, 96, 3)}
    assert {(frame.height, frame.width) for frame in row.frames} == {(48, 96)}
    assert desk.read("good.mp4") == row


def test_a_short_video_keeps_all_its_samples(desk: Desk) -> None:
    write_video(desk.root / "short.mp4", [index * 50 for index in range(20)])
    assert [frame.time_s for frame in desk.read("short.mp4").frames] == pytest.approx([0, 0.25, 0.5, 0.75])


def test_a_picture_is_one_frame_and_never_enlarged(desk: Desk) -> None:
    Image.fromarray(numbered(3, height=32)).save(desk.root / "a.jpg", quality=95)
    (frame,) = desk.read("a.jpg").frames
    assert (frame.time_s, frame.height, frame.width) == (0, 32, 128)


@pytest.mark.parametrize("grey", [0, 255])
def test_a_black_or_white_video_gives_frames(grey: int, desk: Desk) -> None:
    flat = np.full((64, 128, 3), grey, np.uint8)
    write_video(desk.root / "flat.mp4", [index * 50 for index in range(100)], picture=lambda _: flat)
    assert len(desk.read("flat.mp4").frames) == 8


def test_a_gif_is_a_short_video(desk: Desk) -> None:
    write_gif(desk.root / "a.gif", [100] * 10)
    assert [frame.time_s for frame in desk.read("a.gif").frames] == pytest.approx([0, 0.3, 0.5, 0.8])


def test_hostile_names_are_rows_with_an_error(desk: Desk) -> None:
    for url in (
        "../x.mp4",
        "http://pbs.twimg.com/a.jpg",
        "https://127.0.0.1/a.jpg",
        "data:,x",
        "/etc/passwd",
    ):
        row = desk.read(url)
        assert row.error is not None
        assert row.error.startswith("not_allowed: ")
        assert (row.url, row.kind, row.frames) == (url, "video", ())


@pytest.mark.parametrize("name", TEXTS)
def test_texts_named_mp4_are_not_followed(name: str, desk: Desk) -> None:
    (desk.root / "victim.mp4").write_bytes((desk.root / "good.mp4").read_bytes())
    (desk.root / "text.mp4").write_text(TEXTS[name])
    assert str(desk.read("text.mp4").error).startswith("not_media: ")
    desk.assert_good()


def test_damaged_files_are_rows_with_an_error(desk: Desk) -> None:
    good = (desk.root / "good.mp4").read_bytes()
    random = np.random.default_rng(0)
    noise = bytearray(good)
    for position in random.integers(0, len(good), 400):
        noise[position] = random.integers(0, 256)
    damaged = {
        "truncated.mp4": good[: len(good) // 2],
        "head.mp4": good[:64],
        "noise.mp4": bytes(noise),
        "random.gif": b"GIF89a" + random.bytes(3000),
        "random.webm": b"\x1a\x45\xdf\xa3" + random.bytes(3000),
        "random.ts": (b"\x47" + random.bytes(187)) * 20,
        "random.webp": b"RIFF\x00\x10\x00\x00WEBP" + random.bytes(3000),
    }
    for name, content in damaged.items():
        (desk.root / name).write_bytes(content)
        row = desk.read(name)
        assert bool(row.frames) != bool(row.error), name
    assert desk.read("truncated.mp4").error == "bad_container: Invalid data found when processing input"
    desk.assert_good()


def test_sound_alone_is_no_video(desk: Desk) -> None:
    with av.open(str(desk.root / "sound.mp4"), "w") as media:
        stream = media.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
        media.mux(stream.encode(frame))
        media.mux(stream.encode())
    assert desk.read("sound.mp4").error == "no_video_stream: audio"


def test_bombs_end_in_bounded_time(desk: Desk) -> None:
    (desk.root / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (desk.root / "bomb.gif").write_bytes(gif_bomb(3000, 500))

    start = time.monotonic()
    assert str(desk.read("bomb.png").error).startswith("too_many_pixels: ")
    assert str(desk.read("bomb.gif").error).startswith("timeout: ")
    assert time.monotonic() - start < CONFIG.decode_timeout_s + 2
    desk.assert_good()


def test_a_decoder_that_dies_costs_one_row(desk: Desk) -> None:
    desk.assert_good()
    pid = desk.reader._decoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # so that it is surely in the middle
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    assert desk.read("good.mp4").error == "crashed: the decoder ended with -9"
    desk.assert_good()


def test_a_decoder_that_died_between_files_costs_nothing(desk: Desk) -> None:
    desk.assert_good()
    pid = desk.reader._decoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    desk.reader._decoder._child.wait()  # type: ignore[union-attr]
    desk.assert_good()


def test_the_decoder_sees_no_keys_of_ours(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3L_API_KEY", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    with KeyFrameReader(CONFIG, str(desk.root)) as reader:
        reader(Media(kind="video", url="good.mp4"))
        environment = Path(f"/proc/{reader._decoder.pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert b"PYTHONPATH" in environment
