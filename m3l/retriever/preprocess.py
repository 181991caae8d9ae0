"""Encoded frames to CLIP's input, exactly as open_clip prepares it."""

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

OVERSAMPLING = 2  # a JPEG is decoded at its smallest built-in scale that is at least this many times the input size


class Preprocess:
    """open_clip's transform in two steps: resize each frame to bytes once, normalise per batch.

    Args:
        settings: open_clip's `preprocess_cfg`.
    """

    def __init__(self, settings: dict[str, Any]):
        names = {field.name for field in fields(PreprocessCfg)}
        config = PreprocessCfg(**{name: value for name, value in settings.items() if name in names})
        *geometry, _, normalise = image_transform_v2(config, is_train=False).transforms
        self._geometry = Compose(geometry)
        self._mean, self._std = (torch.tensor(v).view(3, 1, 1) for v in (normalise.mean, normalise.std))
        size = config.size
        sides: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.height, self.width = sides

    def __call__(self, images: Sequence[bytes]) -> UInt8[Tensor, "n 3 height width"]:
        """Decode, resize and crop encoded frames; raises OSError if one is not an image."""
        frames = [np.asarray(self._picture(image)) for image in images]
        stacked = np.stack(frames) if frames else np.zeros((0, self.height, self.width, 3), np.uint8)
        return torch.from_numpy(stacked).permute(0, 3, 1, 2)

    def normalize(self, pixels: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
        """Normalised floats on the device of `pixels`, as the towers expect them."""
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        # Channels last: convolutions on a CPU then take two thirds of the time.
        return ((pixels / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def _picture(self, image: bytes) -> Image.Image:
        with Image.open(io.BytesIO(image)) as picture:
            picture.draft("RGB", (OVERSAMPLING * self.width, OVERSAMPLING * self.height))
            return self._geometry(picture.convert("RGB"))
