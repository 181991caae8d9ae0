"""Several prompts about the same post as one sequence, whose common beginning a causal model reads once.

A tree of one branching, as Prefix Grouper (arXiv 2506.05433) trains on: exact, since what follows never changes the
states of what it follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

PADDING, COMMON = -1, 0  # what owns a token: nobody, all prompts, or the prompt of that number from 1 on


@dataclass(frozen=True)
class Packed:
    """What the language model reads, and where each prompt's tokens are found in it."""

    input_ids: Int[Tensor, "post token"]
    attention_mask: Bool[Tensor, "post 1 token token"]  # which tokens each one may read
    position_ids: Int[Tensor, "post token"]
    places: list[Int[Tensor, "post _"]]  # of each prompt's tokens; 0 for its padding


def pack(prompts: Sequence[tuple[Int[Tensor, "post _"], Int[Tensor, "post _"]]]) -> Packed:
    """Left-padded `input_ids` and `attention_mask` of each prompt, all of the same posts -> one sequence for a post."""
    lengths = [mask.sum(1, keepdim=True) for _, mask in prompts]
    at = [_own(ids, length) for (ids, _), length in zip(prompts, lengths, strict=True)]
    common = _common([ids for ids, _ in prompts], lengths)
    start, places = common, []
    for own, length in zip(at, lengths, strict=True):
        places.append(torch.where(own < common, own, start + own - common))
        start = start + length - common
    width = int(start.max())
    made = prompts[0][0].new_zeros(3, len(start), width + 1)  # the last column takes what is padding
    made[2] = PADDING
    for number, ((ids, _), own, place) in enumerate(zip(prompts, at, places, strict=True), 1):
        owner = torch.where(own < common, COMMON, number)
        made.scatter_(2, torch.where(own < 0, width, place).expand(3, -1, -1), torch.stack([ids, own, owner]))
    input_ids, position_ids, owner = made[..., :width]
    reads = (owner[:, None, :] == owner[:, :, None]) | (owner[:, None, :] == COMMON)
    return Packed(input_ids, reads.tril()[:, None], position_ids, [place.clamp(min=0) for place in places])


def _own(ids: Tensor, length: Tensor) -> Int[Tensor, "post _"]:
    """Where each token stands in its own prompt; below 0 it is padding."""
    return torch.arange(ids.shape[1], device=ids.device) - ids.shape[1] + length


def _common(ids: Sequence[Tensor], lengths: Sequence[Tensor]) -> Int[Tensor, "post 1"]:
    """With how many tokens the prompts of each post begin alike."""
    width = min(each.shape[1] for each in ids)
    step = torch.arange(width, device=ids[0].device)
    first, *others = (
        each.gather(1, (step + each.shape[1] - n).clamp(max=each.shape[1] - 1))
        for each, n in zip(ids, lengths, strict=True)
    )
    alike = step < torch.cat(list(lengths), 1).amin(1, keepdim=True)
    for other in others:
        alike = alike & (first == other)
    return alike.cumprod(1).sum(1, keepdim=True)
