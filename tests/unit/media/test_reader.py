"""Whatever the media file is, the answer is a row, with frames or an error, in bounded time."""

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
from tests.support.media_reader import CONFIG, Desk, pictures


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
