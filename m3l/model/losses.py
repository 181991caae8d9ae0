"""Losses over tokens, from the language model's last hidden states or logits."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from m3l.prompts.collator import IGNORE_INDEX

LmHead = Callable[[Tensor], Tensor]


def causal_nll(
    states: Float[Tensor, "batch token hidden"], labels: Int[Tensor, "batch token"], lm_head: LmHead
) -> Float[Tensor, ""]:
    """Negative log-likelihood of the labels under a decoder-only model, the mean over all labelled tokens.

    Args:
        states: The last hidden states.
        labels: The token ids at the same positions, IGNORE_INDEX where a token is no target.
        lm_head: From hidden states to logits over the vocabulary.
    """
    return _token_nll(states, labels, lm_head, "mean")[0]


def causal_sequence_nll(
    states: Float[Tensor, "batch token hidden"], labels: Int[Tensor, "batch token"], lm_head: LmHead
) -> Float[Tensor, " batch"]:
    """As `causal_nll`, but the sum over the labelled tokens of each row."""
    nll, is_target = _token_nll(states, labels, lm_head, "none")
    return nll.new_zeros(len(labels)).index_add(0, is_target.nonzero()[:, 0], nll)


def bag_of_words_loss(
    logits: Float[Tensor, "media query vocabulary"],
    target_ids: Int[Tensor, "media label"],
    weights: Float[Tensor, " vocabulary"],
) -> Float[Tensor, ""]:
    """Weighted cross-entropy of a caption's tokens, each predicted by one visual token, in order.

    The caption is divided evenly among the visual tokens, as in non-autoregressive decoding (arXiv 1711.02281).

    Args:
        logits: The language model's logits at the visual tokens.
        target_ids: The caption's token ids, padded on the right with IGNORE_INDEX.
        weights: The weight of each token of the vocabulary.

    Returns:
        The mean over the posts of each post's weighted mean over its tokens.
    """
    log_probs = logits.float().log_softmax(-1)
    is_target, tokens = target_ids != IGNORE_INDEX, target_ids.clamp(min=0)
    queries = log_probs.shape[1]
    position = torch.arange(tokens.shape[1], device=tokens.device)
    query = (position * queries // is_target.sum(1, keepdim=True)).clamp(max=queries - 1)
    nll = -log_probs[torch.arange(len(tokens))[:, None], query, tokens]
    weight = weights[tokens] * is_target
    return ((nll * weight).sum(1) / weight.sum(1).clamp(min=1e-6)).mean()


def _token_nll(
    states: Tensor, labels: Tensor, lm_head: LmHead, reduction: Literal["mean", "none"]
) -> tuple[Tensor, Bool[Tensor, "batch next"]]:
    # Logits only where there is a target: the vocabulary is wide.
    is_target = labels[:, 1:] != IGNORE_INDEX
    logits = lm_head(states[:, :-1][is_target])
    return F.cross_entropy(logits.float(), labels[:, 1:][is_target], reduction=reduction), is_target
