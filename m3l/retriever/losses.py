"""The retriever's losses as pure functions of similarities: DFR and BCE."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def dfr_loss(
    positives: Float[Tensor, "*posts p"],
    negatives: Float[Tensor, "*posts n"],
    mask: Bool[Tensor, "*posts n"] | None = None,
) -> Float[Tensor, "*posts p"]:
    """DFR: -log(e^positive / (e^positive + sum of e^negative)), one positive frame against all negatives of its query.

    The dense retrieval loss of DPR (Karpukhin et al. 2020, arXiv 2004.04906), applied to frames. One positive is
    never another's negative.

    Args:
        positives: Similarities of each query with its positive frames.
        negatives: Similarities of each query with its negative frames.
        mask: True for the negatives that count; a query without any has a loss of 0.

    Returns:
        One loss per positive.
    """
    if mask is not None:
        negatives = negatives.masked_fill(~mask, torch.finfo(negatives.dtype).min)  # -inf has no gradient
    return F.softplus(negatives.logsumexp(-1, keepdim=True) - positives)


def bce_loss(
    similarity: Float[Tensor, "*shape"], labels: Bool[Tensor, "*shape"], bias: Float[Tensor, ""]
) -> Float[Tensor, "*shape"]:
    """Binary cross-entropy of each frame: -(y log p + (1 - y) log(1 - p)) with p = sigmoid(similarity + bias).

    Args:
        similarity: Similarity of each frame with its query.
        labels: True for positive frames.
        bias: Learned; with a scaled cosine alone, p < 1/2 would need an obtuse angle.
    """
    return F.binary_cross_entropy_with_logits(similarity + bias, labels.to(similarity.dtype), reduction="none")


def negative_mask(
    labels: Bool[Tensor, "b m"], mask: Bool[Tensor, "b m"], all_masks: Bool[Tensor, "all m"], first: int
) -> Bool[Tensor, "b all m"]:
    """Which frames are negatives of each post of this rank: those of other posts, and its own unlabelled ones.

    Args:
        labels: True for the positive frames of this rank's posts.
        mask: True where this rank's posts have a frame.
        all_masks: `mask` of all ranks, concatenated.
        first: Row of `all_masks` at which this rank's posts begin.
    """
    own = torch.arange(len(labels), device=labels.device)
    negatives = all_masks.repeat(len(labels), 1, 1)
    negatives[own, first + own] = mask & ~labels
    return negatives
