"""A frame is looked at once, and what is kept is what would be seen again."""

from typing import Any

import pytest
import torch

from m3l.config import ConfigError, load
from m3l.training.vision_cache import VisionCache
from tests.unit.training.test_trainer import POSTS, learner

FRAMES = [b"one", b"two", b"three"]


def looking(most_bytes: int) -> tuple[VisionCache, list[list[bytes]]]:
    asked: list[list[bytes]] = []

    def look(images: Any) -> torch.Tensor:
        asked.append(list(images))
        return torch.stack([torch.full((2, 4), float(image[0])) for image in images])  # 32 bytes a frame

    return VisionCache(look, most_bytes), asked


def test_a_frame_is_looked_at_once() -> None:
    cache, asked = looking(1000)
    first = cache([FRAMES[0], FRAMES[1], FRAMES[0]])
    again = cache([FRAMES[1], FRAMES[2]])
    assert asked == [FRAMES[:2], FRAMES[2:]]
    assert first[:, 0, 0].tolist() == [ord("o"), ord("t"), ord("o")]
    assert (again[0] == first[1]).all()


def test_what_finds_no_room_is_looked_at_again() -> None:
    cache, asked = looking(64)
    for _ in range(2):
        assert (cache(FRAMES)[:, 0, 0] == torch.tensor([float(frame[0]) for frame in FRAMES])).all()
    assert asked == [FRAMES, FRAMES[2:]]


def test_training_is_the_same_with_it(processor: Any) -> None:
    losses = []
    for room in (0, 10**6):
        taught = learner(processor, schedule="joint", cache_vision=room)
        taught.model.vision_model.requires_grad_(False)
        for part in taught.model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        looks: list[int] = []
        look = taught.model.look
        taught.model.look = lambda pixels, look=look, looks=looks: looks.append(len(pixels)) or look(pixels)  # type: ignore
        losses.append([taught.step([POSTS]) for _ in range(3)])
    assert losses[1] == [pytest.approx(told, rel=1e-4) for told in losses[0]]
    assert looks == [3]  # the three frames of all posts, in the first step alone


@pytest.mark.parametrize("given", [[], ["model.checkpoint=a", "model.train_vision=true"]])
def test_only_a_frozen_vit_is_cached(given: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"train\.cache_vision: needs a frozen ViT"):
        load("tiny", ["train.cache_vision=1", *given])
    with pytest.raises(ConfigError, match=r"train\.cache_vision: an augmented frame"):
        load("tiny", ["train.cache_vision=1", "model.checkpoint=a"])
    with pytest.raises(ConfigError, match=r"train\.cache_vision: needs a whole ViT"):
        changes = ["train.cache_vision=1", "model.checkpoint=a", "train.augment=false"]
        load("tiny", [*changes, "train.optimiser=adamw", "train.strategy=fsdp"])
