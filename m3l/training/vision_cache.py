"""A frozen ViT's patches of frames, kept in memory, so that a frame is looked at once in a training."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor


class VisionCache:
    """Encoded frames -> the patches that `look` gives; what finds no room in `most_bytes` is looked at each time."""

    def __init__(self, look: Callable[[Sequence[bytes]], Tensor], most_bytes: int):
        self._look, self._room = look, most_bytes
        self._kept: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def __call__(self, images: Sequence[bytes]) -> Tensor:
        """(frame, patch, hidden), in order; equal frames of a batch are looked at once."""
        keys = [blake2b(image, digest_size=16).digest() for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._kept}
        seen = dict(zip(new, self._look(list(new.values())), strict=True)) if new else {}
        for key, patches in seen.items():
            if patches.nbytes <= self._room:
                self._room -= patches.nbytes
                self._kept[key] = patches.cpu().clone()  # a copy of its own: a view would keep the whole batch
        device = next(iter(seen.values())).device if seen else None
        return torch.stack([seen[key] if key in seen else self._kept[key].to(device) for key in keys])
