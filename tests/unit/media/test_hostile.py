"""Malicious files: each becomes an error row at bounded cost in time and memory, and no other row is lost."""

import re
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from m3l.media import decode_process
from m3l.media.sample import sample_video
from tests.support.clips import write_gif, write_video
from tests.support.hostile_files import (
    TEXTS,
    flat_video,
    gif_bomb,
    gif_of_screen,
    jpeg_of_size,
    patched,
    png,
    webp_bomb,
    write_many_frames,
    write_no_frames,
    write_sound,
)
from tests.support.media_reader import CONFIG, ReaderHarness

LARGE = bytes(300_000_000)
SMALL_PIXELS = bytes(64 * (64 * 3 + 1))
PEAK_BYTES = 2**30  # of the decoder process, including its libraries
CPU_S = 5.0  # of the decoder process, for one file


def small_video(folder: Path) -> bytes:
    return write_video(folder / "small.mp4", [0, 40, 80, 120]).read_bytes()


MakeFile = Callable[[Path], bytes]  # from a temporary folder to the content of the file

BOMBS: dict[str, tuple[MakeFile, str]] = {
    "header.png": (lambda _: png(60_000, 60_000), "too_many_pixels"),
    "area.png": (lambda _: png(5_000, 5_000), "too_many_pixels"),
    "text.png": (lambda _: png(64, 64, SMALL_PIXELS, b"zTXta\0\0" + zlib.compress(LARGE)), "bad_container"),
    "profile.png": (lambda _: png(64, 64, SMALL_PIXELS, b"iCCPa\0\0" + zlib.compress(LARGE)), "bad_container"),
    "frames.gif": (lambda _: gif_bomb(3000, 500), "too_many_pixels"),
    "area.gif": (lambda _: gif_bomb(9000, 2), "no_frames"),
    "frames.webp": (lambda _: webp_bomb(3000, 500), "too_many_pixels"),
    "16k.mp4": (lambda folder: flat_video(folder / "16k.mp4", 16_384, 64), "too_many_pixels"),
    "16k.png": (lambda _: png(16_384, 16), "too_many_pixels"),
    "area.mp4": (lambda folder: flat_video(folder / "area.mp4", 4112, 2320), "too_many_pixels"),
    "100k.mp4": (lambda folder: write_many_frames(folder / "100k.mp4", 100_000, step_ms=1).read_bytes(), "too_big"),
}

FALSE_HEADERS: dict[str, tuple[MakeFile, str]] = {
    "says-small.mp4": (
        lambda folder: patched(flat_video(folder / "a.mp4", 4112, 2320), b"avc1\0", 28, struct.pack(">HH", 64, 64)),
        "too_many_pixels",
    ),
    "says-large.jpg": (lambda _: jpeg_of_size(60_000, 60_000), "too_many_pixels"),
    "says-nothing.jpg": (lambda _: jpeg_of_size(0, 0), "bad_container"),
    "says-more.png": (lambda _: png(2000, 2000, SMALL_PIXELS), "bad_container"),
    "says-large.gif": (lambda _: gif_of_screen(gif_bomb(64, 3), 65_000, 65_000), "no_frames"),
    "says-large.webp": (lambda _: webp_bomb(16_383, 2), "too_many_pixels"),
    "samples.mp4": (
        lambda folder: patched(small_video(folder), b"stsz", 8, struct.pack(">II", 1, 2**31)),
        "no_frames",
    ),
    "sizes.mp4": (lambda folder: patched(small_video(folder), b"stsz", 12, b"\xff" * 4), "bad_container"),
    "times.mp4": (lambda folder: patched(small_video(folder), b"stts", 8, b"\x7f" + b"\xff" * 3), "out_of_memory"),
    "disguised.mp4": (lambda _: b"\0\0\0\x18ftypisom" + TEXTS["m3u8"].encode(), "bad_container"),
}

NO_PICTURES: dict[str, tuple[MakeFile, str]] = {
    "truncated.mp4": (lambda folder: small_video(folder)[:1000], "bad_container"),
    "truncated.gif": (lambda folder: write_gif(folder / "a.gif", [100] * 3).read_bytes()[:40], "no_frames"),
    "sound.mp4": (lambda folder: write_sound(folder / "a.mp4", "aac", cover=False).read_bytes(), "no_video_stream"),
    "sound.mkv": (lambda folder: write_sound(folder / "a.mkv", "aac", cover=False).read_bytes(), "no_video_stream"),
    "cover.m4a": (lambda folder: write_sound(folder / "a.mp4", "aac", cover=True).read_bytes(), "no_video_stream"),
    "cover.mp3": (lambda folder: write_sound(folder / "a.mp3", "libmp3lame", cover=True).read_bytes(), "not_media"),
    "zero.mp4": (lambda folder: write_no_frames(folder / "a.mp4", "libx264").read_bytes(), "no_video_stream"),
    "zero.webm": (lambda folder: write_no_frames(folder / "a.webm", "libvpx").read_bytes(), "bad_container"),
    "zero.avi": (lambda folder: write_no_frames(folder / "a.avi", "mpeg4").read_bytes(), "no_frames"),
    "zero.gif": (lambda _: gif_bomb(64, 0), "no_frames"),
}

FILES = BOMBS | FALSE_HEADERS | NO_PICTURES


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_an_error_row(name: str, harness: ReaderHarness, tmp_path: Path) -> None:
    make_file, kind = FILES[name]
    (harness.root / name).write_bytes(make_file(tmp_path))
    harness.assert_still_works()
    decode_process, before_s = harness.decoder_process(), cpu_s(harness.decoder_process())

    row = harness.read(name)

    assert harness.decoder_process() == decode_process
    assert cpu_s(decode_process) - before_s < CPU_S
    assert (row.url, row.frames) == (name, ())
    assert row.error is not None
    assert re.match(rf"{kind}\b", row.error), row.error
    harness.assert_still_works()
    assert peak_bytes(harness) < PEAK_BYTES


@pytest.mark.parametrize("text", TEXTS)
def test_playlists_and_other_texts_that_refer_to_files_are_not_followed(text: str, harness: ReaderHarness) -> None:
    (harness.root / "victim.mp4").write_bytes((harness.root / "good.mp4").read_bytes())
    for name in ("text.mp4", f"text.{text}", "text.gif"):
        (harness.root / name).write_text(TEXTS[text])
        assert str(harness.read(name).error).startswith("not_media: ")
    harness.assert_still_works()


def test_decoding_never_opens_a_connection(harness: ReaderHarness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        playlist = f"#EXTM3U\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"
        for text in (playlist, f"ffconcat version 1.0\nfile '{url}'\n", f"\0\0\0\x18ftypisom{playlist}"):
            (harness.root / "text.mp4").write_text(text)
            assert harness.read("text.mp4").error
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_damaged_file_is_a_row_with_frames_or_an_error(harness: ReaderHarness) -> None:
    good = (harness.root / "good.mp4").read_bytes()
    random = np.random.default_rng(0)
    noise = bytearray(good)
    for position in random.integers(0, len(good), 400):
        noise[position] = random.integers(0, 256)
    damaged = {
        "half.mp4": good[: len(good) // 2],
        "head.mp4": good[:64],
        "noise.mp4": bytes(noise),
        "random.gif": b"GIF89a" + random.bytes(3000),
        "random.webm": b"\x1a\x45\xdf\xa3" + random.bytes(3000),
        "random.ts": (b"\x47" + random.bytes(187)) * 20,
        "random.webp": b"RIFF\x00\x10\x00\x00WEBP" + random.bytes(3000),
    }
    for name, content in damaged.items():
        (harness.root / name).write_bytes(content)
        row = harness.read(name)
        assert bool(row.frames) != bool(row.error), name
    harness.assert_still_works()


def test_frames_before_one_that_is_too_large_are_kept(harness: ReaderHarness, tmp_path: Path) -> None:
    large = np.zeros((2320, 4112, 3), np.uint8)
    parts = [
        write_video(tmp_path / "a.ts", range(0, 4000, 40)),
        write_video(tmp_path / "b.ts", [4000, 4040], picture=lambda _: large, options={"preset": "ultrafast"}),
    ]
    (harness.root / "grows.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    row = harness.read("grows.ts")
    assert len(row.frames) == 8
    assert max(frame.time_s for frame in row.frames) < 4


def test_only_the_first_max_seconds_of_a_long_video_are_read(tmp_path: Path) -> None:
    hour = write_many_frames(tmp_path / "hour.mp4", 100_000, step_ms=36)
    config = CONFIG.model_copy(update={"stride_s": 30.0})
    times = [time_s for time_s, _ in sample_video(hour, "mov", config).frames]
    assert times == pytest.approx(np.arange(0, config.max_seconds, 30).tolist(), abs=0.04)


def test_decoding_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    harness = ReaderHarness(tmp_path)
    (tmp_path / "slow.gif").write_bytes(gif_bomb(2000, 500))
    with harness.reader:
        harness.assert_still_works()  # starts the process
        decode_process = harness.decoder_process()
        harness.reader._decoder.config = CONFIG.model_copy(update={"decode_timeout_s": 0.2})  # it takes seconds
        assert str(harness.read("slow.gif").error).startswith("timeout: ")
        assert not decode_process.is_running()
        harness.reader._decoder.config = CONFIG
        harness.assert_still_works()


CRASHING = """
import ctypes
from m3l.media import decode_worker

def extract(path, config):
    if b"crash" in path.read_bytes():
        ctypes.string_at(0)
    return original(path, config)

original, decode_worker.extract = decode_worker.extract, extract
decode_worker.main()
"""


def test_a_file_that_crashes_the_decoder_is_an_error_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(decode_process, "_WORKER_MODULE", "crashing")
    harness = ReaderHarness(tmp_path)
    (tmp_path / "bad.mp4").write_bytes(b"crash")
    with harness.reader:
        for _ in range(2):
            assert harness.read("bad.mp4").error == "crashed: the decoder ended with -11"
        harness.assert_still_works()


def test_no_temporary_files_are_left_behind(
    harness: ReaderHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (harness.root / "flat.png").write_bytes(png(60_000, 60_000))
    for name in ("good.mp4", "flat.png", "missing.mp4"):
        harness.read(name)
    assert not list(tmp_path.iterdir())


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def peak_bytes(harness: ReaderHarness) -> int:
    status = Path(f"/proc/{harness.reader._decoder.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024
