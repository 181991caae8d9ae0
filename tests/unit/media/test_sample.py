"""Sampling: true times, the right pictures, and the same pixels as a full decode."""

from pathlib import Path

import numpy as np
import pytest

from m3l.media.errors import MediaError
from m3l.media.sample import StrideFilter
from tests.support.clips import decoded, number, sampled, write_gif, write_video

CONSTANT = [index * 40 for index in range(100)]
VARIABLE = np.cumsum([0, *np.random.default_rng(0).integers(5, 120, 99)]).tolist()
PERIODIC = {"intra-refresh": "1", "g": "30"}  # decoding cannot start at any key frame
OPEN_GROUPS = {"x264-params": "open-gop=1:keyint=24:bframes=3"}

VIDEOS = {
    "constant.mp4": ("libx264", CONSTANT, {"bf": "0", "g": "25"}),
    "b-frames.mp4": ("libx264", CONSTANT, {"bf": "3", "b-pyramid": "normal", "g": "48"}),
    "variable.mp4": ("libx264", VARIABLE, {"bf": "3", "g": "30"}),
    "variable.mkv": ("libx264", VARIABLE, {"bf": "3", "g": "30"}),
    "open.mp4": ("libx264", CONSTANT, OPEN_GROUPS),
    "refresh.mp4": ("libx264", CONSTANT, PERIODIC),
    "transport.ts": ("libx264", CONSTANT, {"bf": "2", "g": "25"}),
    "hevc.mp4": ("libx265", VARIABLE, {"x265-params": "log-level=none:keyint=24:bframes=3:open-gop=1"}),
    "vp8.webm": (
        "libvpx",
        VARIABLE,
        {"cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "40"},
    ),
    "vp9.webm": ("libvpx-vp9", CONSTANT, {"cpu-used": "8", "deadline": "realtime", "g": "40"}),
    "av1.mp4": ("libsvtav1", CONSTANT, {"preset": "12", "g": "40", "svtav1-params": "lp=1"}),
    "mpeg4.avi": ("mpeg4", CONSTANT, {"bf": "2"}),
}


def expected_samples(times: list[float], stride_s: float) -> list[int]:
    """Indices of the ascending times that must be sampled, by the definition."""
    steps = [int(time / stride_s + 1e-6) for time in times]
    return [index for index, step in enumerate(steps) if index == 0 or step > max(steps[:index])]


@pytest.mark.parametrize("name", VIDEOS)
def test_samples_have_their_true_times_and_the_pixels_of_a_full_decode(name: str, tmp_path: Path) -> None:
    codec, times_ms, options = VIDEOS[name]
    path = write_video(tmp_path / name, times_ms, codec, options=options)
    everything = decoded(path)
    expected = expected_samples([time for time, _ in everything], 0.5)

    samples = sampled(path, stride_s=0.5)

    assert [number(picture) for _, picture in samples] == expected
    true_times = [times_ms[index] / 1000 for index in expected]
    assert [time for time, _ in samples] == pytest.approx(true_times, abs=1e-6)
    for (_, picture), index in zip(samples, expected, strict=True):
        np.testing.assert_array_equal(picture, everything[index][1])


def test_gif_frames_have_their_own_times(tmp_path: Path) -> None:
    delays_ms = [(index % 7 + 3) * 10 for index in range(60)]
    starts = np.cumsum([0, *delays_ms[:-1]]) / 1000
    samples = sampled(write_gif(tmp_path / "a.gif", delays_ms), stride_s=0.2)
    assert [number(picture) for _, picture in samples] == expected_samples(starts.tolist(), 0.2)
    assert [time for time, _ in samples] == pytest.approx([starts[number(picture)] for _, picture in samples])


@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_frames_hidden_by_an_edit_list_are_skipped_and_take_no_time(b_frames: str, tmp_path: Path) -> None:
    """The first ten frames lie before the edit, but the others of their group cannot be decoded without them."""
    hidden = 10
    times_ms = [time - hidden * 40 for time in CONSTANT]
    path = write_video(tmp_path / "a.mp4", times_ms, options={"bf": b_frames, "g": "48"})
    everything = decoded(path)
    expected = expected_samples([time for time, _ in everything], 0.5)

    samples = sampled(path, stride_s=0.5)

    assert number(everything[0][1]) == hidden
    assert [number(picture) for _, picture in samples] == [hidden + index for index in expected]
    assert [time for time, _ in samples] == pytest.approx([CONSTANT[index] / 1000 for index in expected])
    for (_, picture), index in zip(samples, expected, strict=True):
        np.testing.assert_array_equal(picture, everything[index][1])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_video_is_turned_upright_and_keeps_its_times(degrees: int, tmp_path: Path) -> None:
    plain = sampled(write_video(tmp_path / "plain.mp4", VARIABLE))
    turned = sampled(write_video(tmp_path / "turned.mp4", VARIABLE, rotation=degrees))
    assert [time for time, _ in turned] == [time for time, _ in plain]
    for (_, picture), (_, upright) in zip(turned, plain, strict=True):
        np.testing.assert_array_equal(picture, np.rot90(upright, degrees // 90))


def test_the_stride_widens_for_a_long_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", CONSTANT)
    for limit in (1, 2, 7, 50):
        times = [time for time, _ in sampled(path, stride_s=0.04, max_samples=limit)]
        assert limit // 2 < len(times) <= limit
        assert times[0] == 0


def test_reading_stops_after_max_seconds(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", CONSTANT, options={"bf": "0"})
    assert sampled(path, stride_s=0.5, max_seconds=1.0)[-1][0] == pytest.approx(1.0, abs=0.1)


def test_a_video_with_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [0, 40])
    with pytest.raises(MediaError, match="too_many_pixels: 128 x 64"):
        sampled(path, max_pixels=100)


def test_a_truncated_video_gives_the_frames_before_the_cut(tmp_path: Path) -> None:
    complete = write_video(tmp_path / "a.mkv", CONSTANT, options={"g": "25"})
    part = tmp_path / "part.mkv"
    part.write_bytes(complete.read_bytes()[: complete.stat().st_size // 2])
    numbers = [number(picture) for _, picture in sampled(part)]
    assert 1 < len(numbers) < 8
    assert numbers == expected_samples([time / 1000 for time in CONSTANT], 0.5)[: len(numbers)]


def test_the_stride_filter_accepts_the_first_time_at_or_after_each_multiple() -> None:
    stride = StrideFilter(0.5)
    assert [time for time in (0.0, 0.3, 0.5, 0.9, 1.7, 1.9, 2.0) if stride.accepts(time)] == [0.0, 0.5, 1.7, 2.0]
