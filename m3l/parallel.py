"""Spreading a plain model over ranks, from outside: the model itself knows one device."""

from typing import Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def spread(model: nn.Module, strategy: Literal["ddp"], device: torch.device) -> nn.Module:
    """The model on its device, wrapped if there are several ranks."""
    model = model.to(device)
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return model
    # A step trains one task, and a batch may hold no media at all: some parameters then have no gradient.
    return DistributedDataParallel(model, find_unused_parameters=True)
