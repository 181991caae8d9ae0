"""Every media file gives a row, with frames or an error, in bounded time."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m3l.data.records import Media
from m3l.media.reader import KeyFrameReader
from tests.support.clips import number, numbered, write_gif, write_video
from tests.support.media_reader import CONFIG, ReaderHarness, pictures


def test_a_video_gives_small_jpegs_in_time_order(harness: ReaderHarness) -> None:
    row = harness.read("good.mp4")
    times = [frame.time_s for frame in row.frames]
    assert times == sorted(set(times))
    assert [number(picture) for picture in pictures(row)] == [round(time / 0.05) for time in times]
    assert {picture.shape for picture in pictures(row)} == {(48, 96, 3)}
    assert {(frame.height, frame.width) for frame in row.frames} == {(48, 96)}
    assert harness.read("good.mp4") == row


def test_a_short_video_keeps_all_its_samples(harness: ReaderHarness) -> None:
    write_video(harness.root / "short.mp4", [index * 50 for index in range(20)])
    assert [frame.time_s for frame in harness.read("short.mp4").frames] == pytest.approx([0, 0.25, 0.5, 0.75])


def test_an_image_is_one_frame_and_never_enlarged(harness: ReaderHarness) -> None:
    Image.fromarray(numbered(3, height=32)).save(harness.root / "a.jpg", quality=95)
    (frame,) = harness.read("a.jpg").frames
    assert (frame.time_s, frame.height, frame.width) == (0, 32, 128)


@pytest.mark.parametrize("grey", [0, 255])
def test_a_black_or_white_video_gives_frames(grey: int, harness: ReaderHarness) -> None:
    flat = np.full((64, 128, 3), grey, np.uint8)
    write_video(harness.root / "flat.mp4", [index * 50 for index in range(100)], picture=lambda _: flat)
    assert len(harness.read("flat.mp4").frames) == 8


def test_a_gif_is_read_like_a_video(harness: ReaderHarness) -> None:
    write_gif(harness.root / "a.gif", [100] * 10)
    assert [frame.time_s for frame in harness.read("a.gif").frames] == pytest.approx([0, 0.3, 0.5, 0.8])


def test_forbidden_urls_are_error_rows(harness: ReaderHarness) -> None:
    for url in (
        "../x.mp4",
        "http://pbs.twimg.com/a.jpg",
        "https://127.0.0.1/a.jpg",
        "data:,x",
        "/etc/passwd",
    ):
        row = harness.read(url)
        assert row.error is not None
        assert row.error.startswith("not_allowed: ")
        assert (row.url, row.kind, row.frames) == (url, "video", ())


def test_a_decoder_that_dies_costs_one_row(harness: ReaderHarness) -> None:
    harness.assert_still_works()
    pid = harness.reader._decoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # so that it cannot finish first
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    assert harness.read("good.mp4").error == "crashed: the decoder ended with -9"
    harness.assert_still_works()


def test_a_decoder_that_died_between_files_costs_nothing(harness: ReaderHarness) -> None:
    harness.assert_still_works()
    pid = harness.reader._decoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    harness.reader._decoder._process.wait()  # type: ignore[union-attr]
    harness.assert_still_works()


def test_the_decoder_does_not_inherit_secrets(harness: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3L_API_KEY", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    with KeyFrameReader(CONFIG, str(harness.root)) as reader:
        reader(Media(kind="video", url="good.mp4"))
        environment = Path(f"/proc/{reader._decoder.pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert b"PYTHONPATH" in environment
