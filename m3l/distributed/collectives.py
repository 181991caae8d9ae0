"""Tensors and means over the ranks of a distributed run; with one rank, nothing to do."""

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor


def world() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def first_row(rows: int) -> int:
    """Where this rank's rows begin among the gathered ones."""
    return dist.get_rank() * rows if world() > 1 else 0


def gather(tensor: Tensor) -> Tensor:
    """The rows of all ranks, in rank order; gradients find their way back. Every rank gives the same shape."""
    return tensor if world() == 1 else _Gather.apply(tensor)


def everywhere(fact: bool) -> bool:
    """Whether it holds on every rank: what ranks do together they must decide together."""
    if world() == 1:
        return fact
    votes: list[bool] = [False] * world()
    dist.all_gather_object(votes, fact)
    return all(votes)


def mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean of the marked values over ALL ranks, scaled so that DDP's mean of gradients is its gradient.

    Each rank returns its own share; the shares' mean over ranks is the mean. 0 if nothing is marked.
    """
    count = mask.sum()
    if world() > 1:
        dist.all_reduce(count)
    return torch.where(mask, values, 0).sum() * world() / count.clamp(min=1)


class _Gather(torch.autograd.Function):
    # torch.distributed.nn's all_gather needs an all-to-all for its gradient, which gloo does not always have.
    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(world())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        rows = len(gradient) // world()
        return gradient[first_row(rows) :][:rows]
