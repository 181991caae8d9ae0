"""Encoded frames -> what a CLIP reads, exactly as open_clip prepares it."""

import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose

ROOM = 2  # a JPEG is decoded at the smallest of its own scales that has so many times the input size


class Preprocess:
    """open_clip's transform in two halves: to bytes once, by the frame; to normalised floats by the batch."""

    def __init__(self, settings: dict[str, Any]):
        known = {field.name for field in fields(PreprocessCfg)}
        config = PreprocessCfg(**{name: value for name, value in settings.items() if name in known})
        *geometry, _, normalise = image_transform_v2(config, is_train=False).transforms
        self._geometry = Compose(geometry)
        self._mean, self._std = (torch.tensor(v).view(3, 1, 1) for v in (normalise.mean, normalise.std))
        size = config.size
        sides: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.height, self.width = sides

    def __call__(self, images: Sequence[bytes]) -> UInt8[Tensor, "n 3 height width"]:
        """Resized and cropped frames; OSError if one is no image."""
        found = [np.asarray(self._picture(image)) for image in images]
        made = np.stack(found) if found else np.zeros((0, self.height, self.width, 3), np.uint8)
        return torch.from_numpy(made).permute(0, 3, 1, 2)

    def normalised(self, pixels: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
        """Bytes as the floats that the towers expect, on their device."""
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        # Channels last: convolutions on a CPU then take two thirds of the time.
        return ((pixels / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def _picture(self, image: bytes) -> Image.Image:
        with Image.open(io.BytesIO(image)) as picture:
            picture.draft("RGB", (ROOM * self.width, ROOM * self.height))
            return self._geometry(picture.convert("RGB"))
