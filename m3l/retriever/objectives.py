"""What the retriever is trained for: a model and its loss in one module, so that DDP wraps one thing."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from m3l.distributed.collectives import first_row, gather, mean
from m3l.retriever.clip import Retriever
from m3l.retriever.losses import bce_loss, dfr_loss, negatives_of


class Frames(NamedTuple):
    """The frames of `b` posts, at most `m` each: pixels one after another, and where they belong."""

    pixels: UInt8[Tensor, "n 3 height width"]
    mask: Bool[Tensor, "b m"]  # the n places that are filled


class CaptionContrast(nn.Module):
    """CLIP's symmetric loss between true captions and the frames of their posts: it makes the teacher."""

    def __init__(self, retriever: Retriever):
        super().__init__()
        self.retriever = retriever

    def forward(self, frames: Frames, captions: Int[Tensor, "b context"]) -> dict[str, Float[Tensor, ""]]:
        texts = self.retriever.embed_tokens(captions)
        embedded, mask = _embed(self.retriever, frames)
        # The mean, not the best frame: a caption names all that is shown, and frames of nothing favour no caption.
        posts = embedded.sum(1) / mask.sum(1, keepdim=True)
        own = first_row(len(texts)) + torch.arange(len(texts), device=texts.device)
        to_posts = self.retriever.similarity(texts, gather(posts))
        to_texts = self.retriever.similarity(posts, gather(texts))
        return {"loss": (F.cross_entropy(to_posts, own) + F.cross_entropy(to_texts, own)) / 2}


class FrameRetrieval(nn.Module):
    """L = bce_weight BCE + dfr_weight DFR of metadata prompts: the student finds what the teacher found."""

    def __init__(self, retriever: Retriever, bce_weight: float, dfr_weight: float):
        super().__init__()
        self.retriever, self.bce_weight, self.dfr_weight = retriever, bce_weight, dfr_weight

    def forward(
        self, frames: Frames, prompts: Int[Tensor, "b tasks context"], labels: Bool[Tensor, "b m"]
    ) -> dict[str, Float[Tensor, ""]]:
        """`loss`, `dfr` and `bce`, each this rank's share; every post is asked for once by each task."""
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
    """DFR against the frames of all ranks, averaged over positives, and BCE over the posts' own frames."""
    all_frames, everyone = gather(frames), gather(mask)
    first = first_row(len(frames))
    known = negatives_of(labels, mask, everyone, first)
    dfr, bce = [], []
    for query in queries.unbind(1):
        similarity = retriever.similarity(query, all_frames)  # b all m
        own = similarity[torch.arange(len(query)), first + torch.arange(len(query))]  # b m
        dfr.append(mean(dfr_loss(own, similarity.flatten(1), known.flatten(1)), labels & mask))
        bce.append(mean(bce_loss(own, labels, retriever.bias), mask))
    return torch.stack(dfr).mean(), torch.stack(bce).mean()


def _embed(retriever: Retriever, frames: Frames) -> tuple[Float[Tensor, "b m dim"], Bool[Tensor, "b m"]]:
    embedded = retriever.embed_pixels(frames.pixels)
    mask = frames.mask.to(embedded.device)
    places = torch.zeros(*mask.shape, embedded.shape[-1], dtype=embedded.dtype, device=embedded.device)
    places[mask] = embedded
    return places, mask
