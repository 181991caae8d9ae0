"""The actor that reads media and extracts their key frames."""

import pyarrow as pa

from m3l.config import MediaConfig
from m3l.data.records import Media, MediaFrames
from m3l.data.schemas import KEYFRAMES, to_table
from m3l.media.errors import MediaError
from m3l.media.reader import KeyFrameReader, error_row
from pipelines.runtime.retries import Attempts
from pipelines.runtime.stage import ParquetSink

ATTEMPTS = "_begun"  # the folder of attempts, beside the parts
MAX_DEATHS = 2  # workers that may die reading a row alone, after one died of its block, before the row is given up


class ExtractKeyFrames:
    """A Ray Data actor that reads a block of media and writes it as one part, so that a kill undoes one block.

    A block that a worker began and never finished is read again with each row's attempts on record. A row that
    MAX_DEATHS more workers die of becomes an error: Ray alone would start workers for it forever.

    Args:
        config: How media are sampled, and their limits.
        media_root: Folder that relative paths of media start from; None: they are refused.
        folder: Folder of the parts.
    """

    def __init__(self, config: MediaConfig, media_root: str | None, folder: str):
        self.read = KeyFrameReader(config, media_root)
        self.write = ParquetSink(folder, KEYFRAMES, "media_id")
        self.blocks, self.rows = Attempts(f"{folder}/{ATTEMPTS}/blocks"), Attempts(f"{folder}/{ATTEMPTS}/rows")

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = [Media.model_validate(row) for row in block.to_pylist()]
        ids = [row.media_id for row in rows]
        deaths = self.blocks.unfinished(ids)
        if deaths > 1 + MAX_DEATHS * len(rows):
            raise RuntimeError(f"{deaths} workers died of a block, and not of reading any row of it")
        with self.blocks.attempt(ids):
            read = self._read_alone if deaths else self.read
            return self.write(to_table([read(row) for row in rows], KEYFRAMES))

    def _read_alone(self, media: Media) -> MediaFrames:
        deaths = self.rows.unfinished([media.media_id])
        if deaths >= MAX_DEATHS:
            return error_row(media, MediaError("crashed", f"{deaths} workers died reading it"))
        with self.rows.attempt([media.media_id]):
            return self.read(media)
