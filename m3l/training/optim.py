"""The optimiser of the model: what trains, how fast, with what decay."""

from collections import defaultdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from m3l.config import TrainConfig

QUINTIC = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration: drives every singular value towards 1
ITERATIONS = 3  # five, as published, cost twice the time here and learn no faster
MOMENTUM = 0.95
RMS = 0.2  # of an update's entries, which is about AdamW's: one learning rate and decay then fit both


def build_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """What `train.optimiser` names, over the parameters that train."""
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "betas": (0.9, 0.98)}
    if config.optimiser == "adamw":
        return AdamW([p for _, p in trainable], fused=True, **settings)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [p for name, p in trainable if p.ndim == 2 and id(p) not in tables and name.endswith(".weight")]
    return Muon([p for _, p in trainable], matrices, **settings)


class Muon(AdamW):
    """Orthogonalised momentum for matrices (Jordan et al. 2024; arXiv 2502.16982), AdamW for everything else.

    torch.optim.Muon takes one matrix after another in bfloat16, which CPUs without it emulate at a tenth of the
    speed; here all matrices of a shape go through together, in float32. The matrices must be whole on each rank.
    """

    def __init__(self, parameters: list[nn.Parameter], matrices: list[nn.Parameter], **settings: Any):
        known = {id(p) for p in matrices}
        others = [p for p in parameters if id(p) not in known]
        super().__init__([{"params": others}, {"params": matrices}], fused=True, **settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; parameters without a gradient stay as they are."""
        whole = self.param_groups
        self.param_groups = whole[:1]
        loss = super().step(closure)
        self.param_groups = whole
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in whole[1]["params"]:
            if parameter.grad is not None:
                alike[parameter.shape].append(parameter)
        for parameters in alike.values():
            self._turn(parameters, whole[1]["lr"], whole[1]["weight_decay"])
        return loss

    def _turn(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        for parameter in parameters:
            if not self.state[parameter]:  # AdamW, when it loads, asks every state for its step
                self.state[parameter].update(step=torch.zeros(()), momentum=torch.zeros_like(parameter))
        momenta = torch.stack([self.state[p]["momentum"] for p in parameters])
        gradients = torch.stack([p.grad for p in parameters if p.grad is not None])
        momenta.lerp_(gradients, 1 - MOMENTUM)
        updates = orthogonal(gradients.lerp(momenta, MOMENTUM))  # ahead by a step, as Nesterov's
        rate = lr * RMS * max(parameters[0].shape) ** 0.5
        for parameter, momentum, update in zip(parameters, momenta, updates, strict=True):
            self.state[parameter]["momentum"].copy_(momentum)
            parameter.mul_(1 - lr * weight_decay).sub_(rate * update)


def orthogonal(
    matrices: Float[Tensor, "n rows columns"], iterations: int = ITERATIONS
) -> Float[Tensor, "n rows columns"]:
    """Each matrix U S V^T as about U V^T, by Newton-Schulz iterations: no singular value far from 1 but tiny ones."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
