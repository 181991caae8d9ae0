"""Posts as the retriever trains on them, and their way from a stream into batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from m3l.config import TaskConfig
from m3l.data.records import MediaFrames, Post
from m3l.distributed.collectives import everywhere
from m3l.prompts.render import metadata
from m3l.retriever.objectives import Frames
from m3l.retriever.preprocess import Preprocess

MEMORY_BYTES = 2**30  # of one rank's decoded frames; what is more is streamed again for every epoch


@dataclass(frozen=True)
class Sample:
    """A post with its caption, the metadata prompt of each task, and its frames in album and time order."""

    post_id: str
    caption: str
    prompts: tuple[str, ...]
    pixels: UInt8[Tensor, "n 3 height width"]


def make_sample(
    post: Post, media: Sequence[MediaFrames], tasks: Sequence[TaskConfig], preprocess: Preprocess
) -> Sample | None:
    """The sample of a post; None if it has no caption or no readable frame."""
    images = [frame.image for file in media for frame in file.frames]
    if not post.caption or not images:
        return None
    return Sample(post.post_id, post.caption, tuple(metadata(task, post) for task in tasks), preprocess(images))


class Shelf:
    """One rank's samples: `stream()` passes over them; they stay in memory if they fit into `limit_bytes`."""

    def __init__(self, stream: Callable[[], Iterator[Sample]], limit_bytes: int = MEMORY_BYTES):
        self._stream = stream
        self._kept: list[Sample] | None = []
        size, self.rows = 0, 0
        for sample in stream():
            self.rows, size = self.rows + 1, size + sample.pixels.nbytes
            if size > limit_bytes:
                self._kept = None
            if self._kept is not None:
                self._kept.append(sample)
        if not everywhere(self._kept is not None):  # a stream that is split over ranks runs on all or on none
            self._kept = None

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[list[Sample]]:
        """One epoch: ceil(rows / size) batches, in a new order where the samples are in memory."""
        order = [self._kept[i] for i in rng.permutation(self.rows)] if self._kept is not None else self._stream()
        rows = iter(order)
        while batch := list(islice(rows, size)):
            yield batch


def draw(sample: Sample, most: int, rng: np.random.Generator) -> Tensor:
    """Which frames of a post a step sees: at most `most`, by chance, in order."""
    rows = len(sample.pixels)
    return torch.from_numpy(np.sort(rng.choice(rows, min(most, rows), replace=False)))


def stack(samples: Sequence[Sample], chosen: Sequence[Tensor], most: int) -> Frames:
    """The chosen frames of a batch; always `most` places, as every rank must have the same shape."""
    pixels = torch.cat([sample.pixels[at] for sample, at in zip(samples, chosen, strict=True)])
    return Frames(pixels, torch.arange(most) < torch.tensor([[len(at)] for at in chosen]))


def spread_labels(labels: Sequence[Tensor], chosen: Sequence[Tensor], most: int) -> Bool[Tensor, "b m"]:
    """The labels (n frames each) of the chosen frames, at their places."""
    made = torch.zeros(len(chosen), most, dtype=torch.bool)
    for row, (known, at) in enumerate(zip(labels, chosen, strict=True)):
        made[row, : len(at)] = known[at]
    return made
