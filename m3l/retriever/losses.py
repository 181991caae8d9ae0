"""The retriever's losses as pure functions of similarities: DFR and BCE."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def dfr_loss(
    positives: Float[Tensor, "*posts p"],
    negatives: Float[Tensor, "*posts n"],
    counted: Bool[Tensor, "*posts n"] | None = None,
) -> Float[Tensor, "*posts p"]:
    """-log(e^positive / (e^positive + sum of e^negative)): each ONE positive against all negatives of its query.

    DPR's loss (Karpukhin et al. 2020, arXiv 2004.04906) carried to frames. One positive is never another's
    negative. `counted` marks the negatives that there are; without any the loss is 0.
    """
    if counted is not None:
        negatives = negatives.masked_fill(~counted, torch.finfo(negatives.dtype).min)  # -inf has no gradient
    return F.softplus(negatives.logsumexp(-1, keepdim=True) - positives)


def bce_loss(
    similarity: Float[Tensor, "*shape"], labels: Bool[Tensor, "*shape"], bias: Float[Tensor, ""]
) -> Float[Tensor, "*shape"]:
    """-(y log p + (1 - y) log(1 - p)) of each frame, p = sigmoid(similarity + bias)."""
    return F.binary_cross_entropy_with_logits(similarity + bias, labels.to(similarity.dtype), reduction="none")


def negatives_of(
    labels: Bool[Tensor, "b m"], mask: Bool[Tensor, "b m"], everyone: Bool[Tensor, "all m"], first: int
) -> Bool[Tensor, "b all m"]:
    """Which of all posts' frames are negatives of each own post: others' frames, and its own unlabelled ones.

    `mask` and `everyone` mark the frames that there are; own post i is post `first + i` of all.
    """
    own = torch.arange(len(labels), device=labels.device)
    found = everyone.repeat(len(labels), 1, 1)
    found[own, first + own] = mask & ~labels
    return found
