"""Spreading a plain model over ranks, from outside: the model itself knows one device."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Strategy = Literal["ddp", "fsdp"]


def place() -> tuple[int, int]:
    """This rank and the number of ranks; (0, 1) without a process group."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def spread(model: nn.Module, strategy: Strategy, device: torch.device) -> nn.Module:
    """The model on its device, wrapped or sharded if there are several ranks."""
    model = model.to(device)
    if place()[1] == 1:
        return model
    if strategy == "fsdp":
        return _sharded(model, device)
    # A step trains one task: some parameters then have no gradient. Buffers are constants, alike on all ranks.
    return DistributedDataParallel(model, find_unused_parameters=True, forward_sync_buffers=False)


def gathering(net: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Around a forward and backward pass: DDP exchanges gradients with the last one of a step alone.

    FSDP2 does so with each, and so never holds the gradients of the whole model.
    """
    return net.no_sync() if isinstance(net, DistributedDataParallel) and not last else nullcontext()


def total(values: Tensor) -> Tensor:
    """The sum over all ranks, equal on each."""
    if place()[1] > 1:
        torch.distributed.all_reduce(values)
    return values


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be sharded, as a plain one; every rank must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain tensors on the CPU; every rank must ask."""
    return {name: whole(tensor.detach()).cpu() for name, tensor in tensors.items()}


def _sharded(model: nn.Module, device: torch.device) -> nn.Module:
    """FSDP2: each layer a unit, the rest another; computes in bfloat16 where the model's frozen parts are of it."""
    from torch.distributed.device_mesh import init_device_mesh  # here, because these imports take seconds
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    half = any(parameter.dtype is torch.bfloat16 for parameter in model.parameters())
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None,
        reduce_dtype=torch.float32 if half else None,
        cast_forward_inputs=False,
    )
    mesh = init_device_mesh(device.type, (place()[1],))
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    return model


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of every stack, but none inside another."""
    for child in module.children():
        yield from child if isinstance(child, nn.ModuleList) else _layers(child)
