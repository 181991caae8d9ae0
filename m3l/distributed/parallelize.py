"""DDP and FSDP2, applied to a plain model from outside: the model itself is written for one device."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from m3l.distributed.collectives import world_size

Strategy = Literal["ddp", "fsdp"]


def parallelize(model: nn.Module, strategy: Strategy, device: torch.device) -> nn.Module:
    """Move the model to its device and, with several ranks, wrap or shard it.

    Args:
        model: The model, with the same weights on every rank.
        strategy: "ddp" replicates the weights on every rank; "fsdp" shards them in place.
        device: This rank's device.
    """
    model = model.to(device)
    if world_size() == 1:
        return model
    if strategy == "fsdp":
        return _shard(model, device)
    # A step trains one task, so some parameters have no gradient. Buffers are constants, equal on all ranks.
    return DistributedDataParallel(model, find_unused_parameters=True, forward_sync_buffers=False)


def no_sync_unless_last(model: nn.Module, last: bool) -> AbstractContextManager[None]:
    """A context for the forward and backward pass of one microbatch under gradient accumulation.

    DDP then averages gradients over the ranks once in a step, with the last microbatch. FSDP2 reduces them with every
    microbatch, so that no rank ever holds the gradients of the whole model.

    Args:
        model: What `parallelize` returned.
        last: Whether this is the last microbatch of the step.
    """
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext()


def _shard(model: nn.Module, device: torch.device) -> nn.Module:
    """FSDP2 with each layer as a unit and the rest as another; computes in bfloat16 if any parameter is bfloat16."""
    from torch.distributed.device_mesh import init_device_mesh  # here, because these imports take seconds
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    half = any(parameter.dtype is torch.bfloat16 for parameter in model.parameters())
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None,
        reduce_dtype=torch.float32 if half else None,
        cast_forward_inputs=False,
    )
    mesh = init_device_mesh(device.type, (world_size(),))
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    return model


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The items of every outermost ModuleList."""
    for child in module.children():
        yield from child if isinstance(child, nn.ModuleList) else _layers(child)
