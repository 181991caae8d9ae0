"""The retriever's objectives: model and loss as one module, so that DDP wraps a single module."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from m3l.distributed.collectives import all_gather_rows, first_row, masked_mean
from m3l.retriever.clip import Retriever
from m3l.retriever.losses import bce_loss, dfr_loss, negative_mask


class FrameBatch(NamedTuple):
    """The frames of a batch of `b` posts with at most `m` frames each.

    Attributes:
        pixels: All frames, one after another.
        mask: Which of the b x m slots hold a frame.
    """

    pixels: UInt8[Tensor, "n 3 height width"]
    mask: Bool[Tensor, "b m"]


class CaptionContrast(nn.Module):
    """CLIP's symmetric contrastive loss (arXiv 2103.00020) between captions and the frames of their posts.

    Trains the teacher where no pretrained CLIP is used.
    """

    def __init__(self, retriever: Retriever):
        super().__init__()
        self.retriever = retriever

    def forward(self, frames: FrameBatch, captions: Int[Tensor, "b context"]) -> dict[str, Float[Tensor, ""]]:
        texts = self.retriever.embed_tokens(captions)
        embedded, mask = _embed(self.retriever, frames)
        # The mean, not the best frame: a caption names everything shown, and empty frames favour no caption.
        posts = embedded.sum(1) / mask.sum(1, keepdim=True)
        own = first_row(len(texts)) + torch.arange(len(texts), device=texts.device)
        to_posts = self.retriever.similarity(texts, all_gather_rows(posts))
        to_texts = self.retriever.similarity(posts, all_gather_rows(texts))
        return {"loss": (F.cross_entropy(to_posts, own) + F.cross_entropy(to_texts, own)) / 2}


class FrameRetrieval(nn.Module):
    """L = bce_weight BCE + dfr_weight DFR: find the teacher's positive frames from metadata prompts."""

    def __init__(self, retriever: Retriever, bce_weight: float, dfr_weight: float):
        super().__init__()
        self.retriever, self.bce_weight, self.dfr_weight = retriever, bce_weight, dfr_weight

    def forward(
        self, frames: FrameBatch, prompts: Int[Tensor, "b tasks context"], labels: Bool[Tensor, "b m"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The losses of a batch.

        Args:
            frames: Frames of the batch.
            prompts: Tokens of each post's metadata prompts; every task queries every post once.
            labels: Positive frames, from the teacher.

        Returns:
            `loss`, `dfr` and `bce`, this rank's share of each.
        """
        labels = labels.to(self.retriever.device)
        posts, tasks, _ = prompts.shape
        queries = self.retriever.embed_tokens(prompts.flatten(0, 1)).unflatten(0, (posts, tasks))
        embedded, mask = _embed(self.retriever, frames)
        dfr, bce = retrieval_loss(self.retriever, queries, embedded, mask, labels)
        return {"loss": self.bce_weight * bce + self.dfr_weight * dfr, "dfr": dfr.detach(), "bce": bce.detach()}


def retrieval_loss(
    retriever: Retriever,
    queries: Float[Tensor, "b tasks dim"],
    frames: Float[Tensor, "b m dim"],
    mask: Bool[Tensor, "b m"],
    labels: Bool[Tensor, "b m"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """DFR against the frames of all ranks, and BCE over each post's own frames.

    Args:
        retriever: Provides similarity and bias.
        queries: Embeddings of the prompts.
        frames: Embeddings of the frames.
        mask: Which frame slots are filled.
        labels: Positive frames.

    Returns:
        DFR averaged over positives, BCE averaged over frames.
    """
    all_frames, all_masks = all_gather_rows(frames), all_gather_rows(mask)
    first = first_row(len(frames))
    negatives = negative_mask(labels, mask, all_masks, first)
    dfr, bce = [], []
    for query in queries.unbind(1):
        similarity = retriever.similarity(query, all_frames)  # b all m
        own = similarity[torch.arange(len(query)), first + torch.arange(len(query))]  # b m
        dfr.append(masked_mean(dfr_loss(own, similarity.flatten(1), negatives.flatten(1)), labels & mask))
        bce.append(masked_mean(bce_loss(own, labels, retriever.bias), mask))
    return torch.stack(dfr).mean(), torch.stack(bce).mean()


def _embed(retriever: Retriever, frames: FrameBatch) -> tuple[Float[Tensor, "b m dim"], Bool[Tensor, "b m"]]:
    embedded = retriever.embed_pixels(frames.pixels)
    mask = frames.mask.to(embedded.device)
    padded = torch.zeros(*mask.shape, embedded.shape[-1], dtype=embedded.dtype, device=embedded.device)
    padded[mask] = embedded
    return padded, mask
