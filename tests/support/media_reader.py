"""A media reader with a temporary media root, whose valid video must stay readable after any other file."""

import io
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from m3l.config import MediaConfig
from m3l.data.records import Media, MediaFrames
from m3l.media.reader import KeyFrameReader
from tests.support.clips import write_video

# The tests bound work, not wall time, since the machine may be busy.
CONFIG = MediaConfig(decode_timeout_s=120, key_frames=8, stride_s=0.25, image_height=48)


class ReaderHarness:
    """A reader and its media root, which contains good.mp4.

    Args:
        root: An existing folder.
        config: Limits and sampling.
    """

    def __init__(self, root: Path, config: MediaConfig = CONFIG) -> None:
        self.root = root
        self.reader = KeyFrameReader(config, str(root))
        write_video(root / "good.mp4", [index * 50 for index in range(100)])

    def read(self, name: str) -> MediaFrames:
        return self.reader(Media(kind="video", url=name))

    def decoder_process(self) -> psutil.Process:
        """The decoder process, which must be running."""
        assert self.reader._decoder.pid
        return psutil.Process(self.reader._decoder.pid)

    def assert_still_works(self) -> None:
        """Read the valid video and check its frames."""
        row = self.read("good.mp4")
        assert row.error is None
        assert len(row.frames) == 8


def pictures(row: MediaFrames) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(frame.image))) for frame in row.frames]
