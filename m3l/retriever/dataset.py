"""The retriever's training samples: a post, its prompts and its frames; cached in memory, cut into batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from m3l.config import TaskConfig
from m3l.data.records import MediaFrames, Post
from m3l.distributed.collectives import all_ranks_agree
from m3l.prompts.render import metadata_prompt
from m3l.retriever.objectives import FrameBatch
from m3l.retriever.preprocess import Preprocess

CACHE_BYTES = 2**30  # of decoded frames per rank; a larger data set is streamed again in every epoch


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
    """The training sample of a post; None if it has no caption or no readable frame.

    Args:
        post: The post.
        media: Key frames of its media files, in album order.
        tasks: Tasks whose metadata prompts are the queries.
        preprocess: Decodes and resizes the frames.
    """
    images = [frame.image for file in media for frame in file.frames]
    if not post.caption or not images:
        return None
    return Sample(post.post_id, post.caption, tuple(metadata_prompt(task, post) for task in tasks), preprocess(images))


class SampleCache:
    """The samples of one rank, kept in memory if they fit, else streamed again in every epoch.

    Args:
        stream: Returns an iterator over all samples of the rank.
        limit_bytes: Bytes of decoded frames that may stay in memory.
    """

    def __init__(self, stream: Callable[[], Iterator[Sample]], limit_bytes: int = CACHE_BYTES):
        self._stream = stream
        self._cached: list[Sample] | None = []
        size, self.rows = 0, 0
        for sample in stream():
            self.rows, size = self.rows + 1, size + sample.pixels.nbytes
            if size > limit_bytes:
                self._cached = None
            if self._cached is not None:
                self._cached.append(sample)
        # A stream that is split over ranks runs on all of them or on none.
        if not all_ranks_agree(self._cached is not None):
            self._cached = None

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[list[Sample]]:
        """One epoch of ceil(rows / size) batches, shuffled if the samples are in memory.

        Args:
            size: Samples in a batch.
            rng: Draws the order.
        """
        order = [self._cached[i] for i in rng.permutation(self.rows)] if self._cached is not None else self._stream()
        rows = iter(order)
        while batch := list(islice(rows, size)):
            yield batch


def sample_frames(sample: Sample, max_frames: int, rng: np.random.Generator) -> Tensor:
    """Indices of at most `max_frames` frames of a sample, drawn without replacement, in rising order."""
    rows = len(sample.pixels)
    return torch.from_numpy(np.sort(rng.choice(rows, min(max_frames, rows), replace=False)))


def stack_frames(samples: Sequence[Sample], indices: Sequence[Tensor], max_frames: int) -> FrameBatch:
    """The frames of a batch.

    Args:
        samples: The posts of the batch.
        indices: For each post, which of its frames to take.
        max_frames: Width of the mask, equal on every rank whatever the posts have.
    """
    pixels = torch.cat([sample.pixels[chosen] for sample, chosen in zip(samples, indices, strict=True)])
    return FrameBatch(pixels, torch.arange(max_frames) < torch.tensor([[len(chosen)] for chosen in indices]))


def gather_labels(labels: Sequence[Tensor], indices: Sequence[Tensor], max_frames: int) -> Bool[Tensor, "b m"]:
    """The labels of the frames that `stack_frames` takes, padded with False.

    Args:
        labels: For each post, one label per frame.
        indices: For each post, which of its frames to take.
        max_frames: Width of the result.
    """
    gathered = torch.zeros(len(indices), max_frames, dtype=torch.bool)
    for row, (post_labels, chosen) in enumerate(zip(labels, indices, strict=True)):
        gathered[row, : len(chosen)] = post_labels[chosen]
    return gathered
