"""embeddings/: what a retriever makes of each key frame and each prompt, kept by name. No torch here."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float16

from m3l.data.keyed_rows import Store
from m3l.data.records import MediaFrames

Kind = Literal["media", "post"]


def key(kind: Kind, name: str) -> str:
    """What a media file's or a post's row is called."""
    return f"{kind}:{name}"


def packed(name: str, vectors: Float16[np.ndarray, "rows dim"]) -> dict[str, Any]:
    """The row of EMBEDDINGS of that name."""
    return {"key": name, "rows": len(vectors), "vectors": vectors.tobytes()}


class Embeddings:
    """The vectors in a folder of EMBEDDINGS; KeyError for what it does not hold."""

    def __init__(self, folder: str):
        self._rows = Store(folder, "key")

    def frames(self, files: Sequence[MediaFrames]) -> Float16[np.ndarray, "n dim"]:
        """Of all key frames of some files, one file after another."""
        found = [self._vectors(key("media", file.media_id)) for file in files if file.frames]
        return np.concatenate(found) if found else np.zeros((0, 0), np.float16)

    def prompts(self, post_id: str) -> Float16[np.ndarray, "tasks dim"]:
        """Of a post's prompts, in the order of the tasks."""
        return self._vectors(key("post", post_id))

    def _vectors(self, name: str) -> Float16[np.ndarray, "rows dim"]:
        row = self._rows[name][0]
        return np.frombuffer(row["vectors"], np.float16).reshape(row["rows"], -1)
