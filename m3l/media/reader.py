"""Key frames of media by URL. A file that cannot be read is a row with an error, never an exception."""

import tempfile
from pathlib import Path
from typing import Self

from m3l.config import MediaConfig
from m3l.data.records import Media, MediaFrames
from m3l.media.decode_process import DecoderProcess
from m3l.media.errors import MediaError
from m3l.media.fetch import fetch


class KeyFrameReader:
    """Fetches one media file for each call and extracts its key frames.

    It holds the decoder process, so create it once and close it at the end (or use it in a `with` block).

    Args:
        config: Allowed hosts, limits, number and size of the key frames.
        media_root: Folder, local or a storage URI, that local paths are resolved in; None: local paths are refused.
    """

    def __init__(self, config: MediaConfig, media_root: str | None = None) -> None:
        self.config = config
        self.media_root = media_root
        self._decoder = DecoderProcess(config)

    def __call__(self, media: Media) -> MediaFrames:
        """At most `config.key_frames` frames in time order, or `error` set to the text of a MediaError."""
        with tempfile.TemporaryDirectory(prefix="m3l-media-") as folder:
            try:
                path = fetch(media.url, Path(folder), self.config, self.media_root)
            except MediaError as error:
                return error_row(media, error)
            return self.read_file(path, media)

    def read_file(self, path: Path, media: Media) -> MediaFrames:
        """The same for a local file, such as an upload.

        Args:
            path: The file.
            media: What the row says of it; its URL is not read.
        """
        try:
            return _row(media, frames=self._decoder.read(path))
        except MediaError as error:
            return error_row(media, error)

    def close(self) -> None:
        """End the decoder process."""
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_key_frames(media: Media, config: MediaConfig, media_root: str | None = None) -> MediaFrames:
    """The key frames of a single media file; for several files, use one `KeyFrameReader`."""
    with KeyFrameReader(config, media_root) as read:
        return read(media)


def error_row(media: Media, error: MediaError) -> MediaFrames:
    """The row of a media file that cannot be read."""
    return _row(media, error=str(error))


def _row(media: Media, **outcome: object) -> MediaFrames:
    return MediaFrames.model_validate(
        {"media_id": media.media_id, "url": media.url, "kind": media.kind, "duration_s": media.duration_s} | outcome
    )
