"""The actor that reads media and distils their key frames."""

import pyarrow as pa

from m3l.config import MediaConfig
from m3l.data.records import Media, MediaFrames
from m3l.data.schemas import KEYFRAMES, to_table
from m3l.media.errors import MediaError
from m3l.media.reader import KeyFrameReader, failed
from pipelines.runtime.retries import Attempts
from pipelines.runtime.stage import Parts

BEGUN = "_begun"  # the folder of attempts, beside the parts


ALONE = 2  # workers that may die reading a row, after one that died of its block, before the row is given up


class Distil:
    """A Ray Data actor that reads a block of media and writes it as one part, all that a kill can undo.

    A block that a worker began and never ended is read with each row's attempts on record, and a row that ALONE more
    workers die of becomes an error: Ray, left to itself, would start workers for it for ever.
    """

    def __init__(self, config: MediaConfig, media_root: str | None, folder: str):
        self.read = KeyFrameReader(config, media_root)
        self.write = Parts(folder, KEYFRAMES, "media_id")
        self.blocks, self.rows = Attempts(f"{folder}/{BEGUN}/blocks"), Attempts(f"{folder}/{BEGUN}/rows")

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = [Media.model_validate(row) for row in block.to_pylist()]
        ids = [row.media_id for row in rows]
        died = self.blocks.unended(ids)
        if died > 1 + ALONE * len(rows):
            raise RuntimeError(f"{died} workers died of a block, and not of reading any row of it")
        with self.blocks.attempt(ids):
            read = self._alone if died else self.read
            return self.write(to_table([read(row) for row in rows], KEYFRAMES))

    def _alone(self, media: Media) -> MediaFrames:
        died = self.rows.unended([media.media_id])
        if died >= ALONE:
            return failed(media, MediaError("crashed", f"{died} workers died reading it"))
        with self.rows.attempt([media.media_id]):
            return self.read(media)
