"""Collective operations over the ranks of a distributed run.

Every rank must call them in the same order. Without a process group, or with a single rank, they do nothing.
"""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of ranks; (0, 1) without a process group."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def world_size() -> int:
    """The number of ranks; 1 without a process group."""
    return rank_and_world_size()[1]


def first_row(rows: int) -> int:
    """The index of this rank's first row in the result of `all_gather_rows`, for `rows` rows on each rank."""
    return rank_and_world_size()[0] * rows


def all_gather_rows(tensor: Tensor) -> Tensor:
    """Concatenate the rows of all ranks, in rank order, with gradients.

    Args:
        tensor: This rank's rows, of the same shape on every rank.

    Returns:
        A tensor with `world_size()` times as many rows. Its gradient is summed over the ranks on the way back.
    """
    return tensor if world_size() == 1 else _AllGatherRows.apply(tensor)


def all_ranks_agree(condition: bool) -> bool:
    """Whether `condition` is true on every rank, so that all ranks take the same branch."""
    if world_size() == 1:
        return condition
    votes: list[bool] = [False] * world_size()
    dist.all_gather_object(votes, condition)
    return all(votes)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum `values` over all ranks, in place; every rank gets the sum."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean of the values where `mask` is true, over all ranks, for a loss whose gradients DDP averages.

    Args:
        values: This rank's values.
        mask: Which of them count.

    Returns:
        This rank's share: the average of the shares over the ranks is the mean over all ranks. 0 if no value counts.
    """
    count = all_reduce_sum(mask.sum())
    return torch.where(mask, values, 0).sum() * world_size() / count.clamp(min=1)


def full_tensor(tensor: Tensor) -> Tensor:
    """A plain tensor from one that may be sharded by FSDP2."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def full_state_dict(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, detached, unsharded and on the CPU."""
    return {name: full_tensor(tensor.detach()).cpu() for name, tensor in tensors.items()}


class _AllGatherRows(torch.autograd.Function):
    # torch.distributed.nn's all_gather needs an all-to-all for its gradient, which gloo does not always have.
    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        gradient = all_reduce_sum(gradients[0].contiguous())
        rows = len(gradient) // world_size()
        return gradient[first_row(rows) :][:rows]
