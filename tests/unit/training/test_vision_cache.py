"""The cache of a frozen ViT computes the features of each frame once, and changes no loss."""

from typing import Any

import pytest
import torch

from m3l.config import ConfigError, load
from m3l.training.vision_cache import VisionCache
from tests.support.models import ROWS, make_trainer

FRAMES = [b"one", b"two", b"three"]


def counting_cache(max_bytes: int) -> tuple[VisionCache, list[list[bytes]]]:
    """A cache, and the frames whose features it had computed, call by call."""
    computed: list[list[bytes]] = []

    def vision_features(images: Any) -> torch.Tensor:
        computed.append(list(images))
        return torch.stack([torch.full((2, 4), float(image[0])) for image in images])  # 32 bytes a frame

    return VisionCache(vision_features, max_bytes), computed


def test_a_frame_is_computed_once() -> None:
    cache, computed = counting_cache(1000)
    first = cache([FRAMES[0], FRAMES[1], FRAMES[0]])
    again = cache([FRAMES[1], FRAMES[2]])
    assert computed == [FRAMES[:2], FRAMES[2:]]
    assert first[:, 0, 0].tolist() == [ord("o"), ord("t"), ord("o")]
    assert (again[0] == first[1]).all()


def test_frames_that_do_not_fit_are_computed_each_time() -> None:
    cache, computed = counting_cache(64)
    for _ in range(2):
        assert (cache(FRAMES)[:, 0, 0] == torch.tensor([float(frame[0]) for frame in FRAMES])).all()
    assert computed == [FRAMES, FRAMES[2:]]


def test_the_cache_changes_no_loss(processor: Any) -> None:
    losses = []
    for max_bytes in (0, 10**6):
        trainer = make_trainer(processor, schedule="joint", cache_vision=max_bytes)
        trainer.model.vision_model.requires_grad_(False)
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        computed: list[int] = []
        original = trainer.model.vision_features

        def counted(pixels: Any, original: Any = original, computed: list[int] = computed) -> Any:
            computed.append(len(pixels))
            return original(pixels)

        trainer.model.vision_features = counted  # type: ignore[method-assign]
        losses.append([trainer.step([ROWS]) for _ in range(3)])
    assert losses[1] == [pytest.approx(step, rel=1e-4) for step in losses[0]]
    assert computed == [3]  # the three frames of all posts, in the first step alone


@pytest.mark.parametrize("settings", [[], ["model.checkpoint=a", "model.train_vision=true"]])
def test_only_a_frozen_vit_is_cached(settings: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"train\.cache_vision: needs a frozen ViT"):
        load("tiny", ["train.cache_vision=1", *settings])
    with pytest.raises(ConfigError, match=r"train\.cache_vision: an augmented frame"):
        load("tiny", ["train.cache_vision=1", "model.checkpoint=a"])
    with pytest.raises(ConfigError, match=r"train\.cache_vision: needs a whole ViT"):
        changes = ["train.cache_vision=1", "model.checkpoint=a", "train.augment=false"]
        load("tiny", [*changes, "train.optimiser=adamw", "train.strategy=fsdp"])
