"""Pictures that ingest would have listed: the smallest beginning for the stage `frames`."""

from pathlib import Path

import cv2
import numpy as np

from m3l.config import Config, load
from m3l.data import storage
from m3l.data.records import media_id
from m3l.data.schemas import MEDIA, to_table


def listed(run: Path, pictures: int, *settings: str) -> Config:
    """The configuration of a run whose posts name this many pictures, `0.jpg` to `N.jpg`, none of them read yet."""
    media = run / "media"
    media.mkdir(parents=True)
    rows = []
    for number in range(pictures):
        name = f"{number}.jpg"
        cv2.imwrite(str(media / name), np.full((16, 24, 3), number, np.uint8))
        rows.append({"media_id": media_id(name), "kind": "image", "url": name})
    config = load("tiny", [f"paths.run={run}", f"paths.media_root={media}", *settings])
    posts = config.paths.of("posts")
    storage.write_part(to_table(rows, MEDIA), f"{posts}/media", ["0"])
    storage.write_json(f"{posts}/_summary.json", {"rows_in": pictures})
    return config
