"""Several prompts about the same post as one sequence, whose common prefix a decoder-only model reads once.

The sequence is a tree with one branching, as in Prefix Grouper (arXiv 2506.05433). The result is exact, because the
states of a causal model never depend on later tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

PADDING, SHARED = -1, 0  # owners of a token besides single prompts, which are numbered from 1


@dataclass(frozen=True)
class PackedPrompts:
    """The language model's input for several prompts.

    Args:
        input_ids: Token ids of the common prefix and then of each prompt's rest, padded on the right.
        attention_mask: Which tokens (last axis) each token may attend to.
        position_ids: The position of each token in its own prompt.
        token_indices: For each prompt, where its tokens are in the sequence; 0 for its padding.
    """

    input_ids: Int[Tensor, "post token"]
    attention_mask: Bool[Tensor, "post 1 token token"]
    position_ids: Int[Tensor, "post token"]
    token_indices: list[Int[Tensor, "post _"]]


def pack_prompts(prompts: Sequence[tuple[Int[Tensor, "post _"], Int[Tensor, "post _"]]]) -> PackedPrompts:
    """Pack the prompts of each post into one sequence.

    Args:
        prompts: `input_ids` and `attention_mask` of each prompt, padded on the left; all of the same posts.
    """
    lengths = [mask.sum(1, keepdim=True) for _, mask in prompts]
    positions = [_positions(ids, length) for (ids, _), length in zip(prompts, lengths, strict=True)]
    shared = _shared_prefix_length([ids for ids, _ in prompts], lengths)
    start, token_indices = shared, []
    for position, length in zip(positions, lengths, strict=True):
        token_indices.append(torch.where(position < shared, position, start + position - shared))
        start = start + length - shared
    width = int(start.max())
    packed = prompts[0][0].new_zeros(
        3, len(start), width + 1
    )  # token, position, owner; padding goes to the last column
    packed[2] = PADDING
    for number, ((ids, _), position, indices) in enumerate(zip(prompts, positions, token_indices, strict=True), 1):
        owner = torch.where(position < shared, SHARED, number)
        columns = torch.where(position < 0, width, indices).expand(3, -1, -1)
        packed.scatter_(2, columns, torch.stack([ids, position, owner]))
    input_ids, position_ids, owner = packed[..., :width]
    may_attend = (owner[:, None, :] == owner[:, :, None]) | (owner[:, None, :] == SHARED)
    indices_or_0 = [indices.clamp(min=0) for indices in token_indices]
    return PackedPrompts(input_ids, may_attend.tril()[:, None], position_ids, indices_or_0)


def _positions(ids: Tensor, length: Tensor) -> Int[Tensor, "post _"]:
    """The position of each token in its prompt; negative for padding."""
    return torch.arange(ids.shape[1], device=ids.device) - ids.shape[1] + length


def _shared_prefix_length(ids: Sequence[Tensor], lengths: Sequence[Tensor]) -> Int[Tensor, "post 1"]:
    """The number of tokens that begin all prompts of a post."""
    width = min(each.shape[1] for each in ids)
    step = torch.arange(width, device=ids[0].device)
    first, *others = (
        each.gather(1, (step + each.shape[1] - length).clamp(max=each.shape[1] - 1))
        for each, length in zip(ids, lengths, strict=True)
    )
    equal = step < torch.cat(list(lengths), 1).amin(1, keepdim=True)
    for other in others:
        equal = equal & (first == other)
    return equal.cumprod(1).sum(1, keepdim=True)
