"""The folder embeddings/: the CLIP embeddings of every key frame and every prompt, by name. Needs no torch."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float16

from m3l.data.keyed_rows import KeyedRows
from m3l.data.records import MediaFrames

Kind = Literal["media", "post"]


def row_key(kind: Kind, name: str) -> str:
    """The key of a media file's or a post's row, e.g. `post:17`."""
    return f"{kind}:{name}"


def embedding_row(key: str, vectors: Float16[np.ndarray, "rows dim"]) -> dict[str, Any]:
    """A row of the schema EMBEDDINGS.

    Args:
        key: See `row_key`.
        vectors: The embeddings of the file's frames or of the post's prompts.
    """
    return {"key": key, "rows": len(vectors), "vectors": vectors.tobytes()}


class EmbeddingStore:
    """Random access to a folder of embeddings; raises KeyError for a name that it does not hold."""

    def __init__(self, folder: str):
        self._rows = KeyedRows(folder, "key")

    def frames(self, files: Sequence[MediaFrames]) -> Float16[np.ndarray, "n dim"]:
        """The embeddings of all key frames of some media files, one file after another."""
        vectors = [self._vectors(row_key("media", file.media_id)) for file in files if file.frames]
        return np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float16)

    def prompts(self, post_id: str) -> Float16[np.ndarray, "tasks dim"]:
        """The embeddings of a post's metadata prompts, in the order of the tasks."""
        return self._vectors(row_key("post", post_id))

    def _vectors(self, key: str) -> Float16[np.ndarray, "rows dim"]:
        row = self._rows[key][0]
        return np.frombuffer(row["vectors"], np.float16).reshape(row["rows"], -1)
