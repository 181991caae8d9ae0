"""Random changes of training examples: fewer frames, fewer fields, moved pixels; each drawn from a row's own seed."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from m3l.data.records import Example
from m3l.prompts.render import OPTIONAL_FIELDS, without_fields

MAX_SHIFT, SCALES = 0.12, (0.85, 1.2)  # of an augmented frame, relative to its width and height
LOTS = 4  # random numbers that `augment_frames` takes for each frame


def subsample_frames(
    examples: Sequence[Example], max_frames: int, media_dropout: float, row_seeds: Sequence[int]
) -> list[Example]:
    """Copies of the examples with a random subset of their frames, in their order, or without any.

    The first frame always stays, because the start of a video matters; the others are drawn one from each of equal
    stretches of the rest.

    Args:
        examples: Posts with the frames that were retrieved for a task.
        max_frames: Number of frames that an example keeps at most.
        media_dropout: Probability that an example loses all of its frames, as if its link were dead.
        row_seeds: One seed for each example.
    """
    subsampled = []
    for example, seed in zip(examples, row_seeds, strict=True):
        random = np.random.default_rng(seed)
        frames = example.context.frames
        if random.uniform() < media_dropout:
            frames = ()
        elif len(frames) > max_frames:
            stretches = np.arange(max_frames - 1) + random.uniform(size=max_frames - 1)
            indices = stretches * (len(frames) - 1) / max(1, max_frames - 1)
            frames = (frames[0], *(frames[1 + int(index)] for index in indices))
        context = example.context.model_copy(update={"frames": frames})
        subsampled.append(example.model_copy(update={"context": context}))
    return subsampled


def drop_fields(
    examples: Sequence[Example], masked: str, field_dropout: float, row_seeds: Sequence[int]
) -> list[Example]:
    """Copies of the examples whose posts lack some of the fields that a prompt can leave out.

    Args:
        examples: Posts with their frames.
        masked: The field that the task predicts, which always stays.
        field_dropout: Probability of each optional field to be dropped.
        row_seeds: One seed for each example.
    """
    result = []
    for example, seed in zip(examples, row_seeds, strict=True):
        lots = np.random.default_rng((seed, 1)).uniform(size=len(OPTIONAL_FIELDS))
        dropped = [name for name, lot in zip(OPTIONAL_FIELDS, lots, strict=True) if lot < field_dropout]
        post = without_fields(example.post, [name for name in dropped if name != masked])
        result.append(example.model_copy(update={"post": post}))
    return result


def augmentation_lots(frame_counts: Sequence[int], row_seeds: Sequence[int]) -> Float[Tensor, "frame 4"]:
    """The random numbers of `augment_frames` for all frames of the rows, one row after the other.

    Args:
        frame_counts: Number of frames of each row.
        row_seeds: One seed for each row.
    """
    lots = [
        np.random.default_rng((seed, 2)).random((count, LOTS))
        for count, seed in zip(frame_counts, row_seeds, strict=True)
    ]
    return torch.from_numpy(np.concatenate(lots)).float()


def augment_frames(
    frames: Float[Tensor, "frame 3 height width"], lots: Float[Tensor, "frame 4"]
) -> Float[Tensor, "frame 3 height width"]:
    """Flip half of the frames, and scale and shift each; what enters from outside a frame is 0.

    Args:
        frames: Normalised pixels.
        lots: Random numbers in [0, 1) of each frame: for its flip, its scale, its shift in x and in y.
    """
    flip, scale, x, y = lots.T
    scale = 1 / (SCALES[0] + (SCALES[1] - SCALES[0]) * scale)
    affine = torch.zeros(len(frames), 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = torch.where(flip < 0.5, -scale, scale), scale
    # Twice the share of the width: coordinates in a frame reach from -1 to 1.
    affine[:, 0, 2], affine[:, 1, 2] = 2 * MAX_SHIFT * (2 * x - 1), 2 * MAX_SHIFT * (2 * y - 1)
    grid = F.affine_grid(affine, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, align_corners=False)
