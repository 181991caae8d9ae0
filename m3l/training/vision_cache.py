"""A cache of a frozen ViT's features, so that it runs once for each frame of a training."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor


class VisionCache:
    """The features of encoded frames, cached up to a size; those that do not fit are computed each time.

    Args:
        vision_features: Computes the features of encoded frames: (frame, patch, hidden).
        max_bytes: Memory that the cache takes at most.
    """

    def __init__(self, vision_features: Callable[[Sequence[bytes]], Tensor], max_bytes: int):
        self._vision_features, self._free_bytes = vision_features, max_bytes
        self._cached: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def __call__(self, images: Sequence[bytes]) -> Tensor:
        """The features (frame, patch, hidden) of the frames, in their order; equal frames are computed once."""
        keys = [blake2b(image, digest_size=16).digest() for image in images]
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in self._cached}
        computed = dict(zip(missing, self._vision_features(list(missing.values())), strict=True)) if missing else {}
        for key, features in computed.items():
            if features.nbytes <= self._free_bytes:
                self._free_bytes -= features.nbytes
                self._cached[key] = features.cpu().clone()  # a view would keep the features of the whole batch
        device = next(iter(computed.values())).device if computed else None
        return torch.stack([computed[key] if key in computed else self._cached[key].to(device) for key in keys])
