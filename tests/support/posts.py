"""Posts with drawn frames and the smallest configuration that trains: what the tests of the model share."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np

from m3l.config import Config, ModelConfig, load
from m3l.data.records import Context, ContextFrame, Example, Post
from m3l.prompts.collator import Collator, LikesScale

TINY: Config = load(
    "tiny",
    [
        "model.tiny={image_size: 32, patch_size: 16, vision_hidden: 32, vision_layers: 2, qformer_hidden: 32,"
        " qformer_layers: 2, query_tokens: 4, text_hidden: 32, text_layers: 2, heads: 2, vocabulary: 400,"
        " tformer_spread: 0}",
        "model.head_hidden=16",
        "model.max_prompt_tokens=96",
        "model.max_caption_tokens=12",
        "train={workers: 1, epochs: 1, batch_size: 3, frames: 3, lr: 0.003}",
    ],
)
CONTENT, BEHAVIOUR = TINY.task("content"), TINY.task("behaviour")
CAPTIONS = ("a red fox runs", "two owls at night", "the sea")
WORDS = [
    "Username is maker., Release Date is 2020-07-19, Release Time is 00:07:00,",
    "Likes received is 78. Caption is it. Predicted Number of likes : Predicted Caption:",
    *CAPTIONS,
]


def jpeg(seed: int) -> bytes:
    """A drawn frame: a box on a background, both of the seed's colours."""
    random = np.random.default_rng(seed)
    picture = np.full((40, 48, 3), random.integers(0, 256, 3), np.uint8)
    x, y = (int(value) for value in random.integers(0, 20, 2))
    cv2.rectangle(picture, (x, y), (x + 20, y + 16), [int(value) for value in random.integers(0, 256, 3)], -1)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def example(number: int = 0, frames: int = 1, **fields: Any) -> Example:
    """The post of that number with `frames` frames of one media file, half a second apart; `fields` replace its own."""
    post = {
        "post_id": str(number),
        "username": "maker",
        "posted_at": datetime(2020, 7, 19, 0, 7, tzinfo=UTC),
        "caption": CAPTIONS[number % len(CAPTIONS)],
        "likes": 78 * (1 + number) ** 3,
    }
    shown = [ContextFrame(media_id="m", time_s=i / 2, score=0.5, image=jpeg(100 * number + i)) for i in range(frames)]
    return Example(
        post=Post(**post | fields), context=Context(post_id=str(number), task="content", frames=tuple(shown))
    )


def make_collator(processor: Any, scale: LikesScale | None = None, **changes: Any) -> Collator:
    """The collator of `TINY`; `changes` are settings of its model."""
    config: ModelConfig = TINY.model.model_copy(update=changes)
    return Collator(processor, config, scale or LikesScale(5.0, 1.5))


def row(example: Example) -> dict[str, Example]:
    """A training row whose tasks all read the same frames."""
    return defaultdict(lambda: example)
