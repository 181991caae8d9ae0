"""The optimiser of the model: what trains, how fast, with what decay."""

from torch import nn
from torch.optim import AdamW, Optimizer

from m3l.config import TrainConfig


def build_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """AdamW (arXiv 1711.05101) over the parameters that train."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return AdamW(trainable, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True)
