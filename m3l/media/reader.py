"""Media to key frames, where a bad file is a row with an error and never an exception."""

import tempfile
from pathlib import Path
from typing import Self

from m3l.config import MediaConfig
from m3l.data.records import Media, MediaFrames
from m3l.media.decode_process import Decoder
from m3l.media.errors import MediaError
from m3l.media.fetch import fetch


class KeyFrameReader:
    """Fetches, samples and distils one media file per call; holds the process that decodes: keep it."""

    def __init__(self, config: MediaConfig, media_root: str | None = None) -> None:
        self.config = config
        self.media_root = media_root
        self._decoder = Decoder(config)

    def __call__(self, media: Media) -> MediaFrames:
        """At most `config.key_frames` frames in time order, or `error`: "kind: detail"."""
        with tempfile.TemporaryDirectory(prefix="m3l-media-") as folder:
            try:
                path = fetch(media.url, Path(folder), self.config, self.media_root)
            except MediaError as error:
                return failed(media, error)
            return self.read_file(path, media)

    def read_file(self, path: Path, media: Media) -> MediaFrames:
        """The same for a file that is here already, such as an upload; `media.url` is only its name."""
        try:
            return _row(media, frames=self._decoder.read(path))
        except MediaError as error:
            return failed(media, error)

    def close(self) -> None:
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def key_frames(media: Media, config: MediaConfig, media_root: str | None = None) -> MediaFrames:
    """One media file's key frames; for more than one, keep a KeyFrameReader."""
    with KeyFrameReader(config, media_root) as read:
        return read(media)


def failed(media: Media, error: MediaError) -> MediaFrames:
    """The row of a media file that cannot be read."""
    return _row(media, error=str(error))


def _row(media: Media, **outcome: object) -> MediaFrames:
    return MediaFrames.model_validate(
        {"media_id": media.media_id, "url": media.url, "kind": media.kind, "duration_s": media.duration_s} | outcome
    )
