"""The optimisers: AdamW, and Muon for randomly initialised models."""

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
UPDATE_RMS = 0.2  # of an update's entries, which is about AdamW's: one learning rate and decay then fit both


def build_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimiser that `train.optimiser` names.

    Muon takes the weight matrices; embeddings, biases and norms are left to AdamW.

    Args:
        model: Its parameters that require gradients are trained.
        config: The settings `optimiser`, `lr` and `weight_decay`.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "betas": (0.9, 0.98)}
    if config.optimiser == "adamw":
        return AdamW([p for _, p in trainable], fused=True, **settings)
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [p for name, p in trainable if p.ndim == 2 and id(p) not in embeddings and name.endswith(".weight")]
    return Muon([p for _, p in trainable], matrices, **settings)


class Muon(AdamW):
    """Orthogonalised momentum for matrices (Jordan et al. 2024; arXiv 2502.16982), AdamW for everything else.

    torch.optim.Muon takes one matrix after another in bfloat16, which CPUs without it emulate at a tenth of the
    speed; here all matrices of a shape go through together, in float32.

    Args:
        parameters: All parameters to train.
        matrices: Those of them that are updated by orthogonalised momentum; each must be whole on every rank.
        settings: Those of AdamW.
    """

    def __init__(self, parameters: list[nn.Parameter], matrices: list[nn.Parameter], **settings: Any):
        matrix_ids = {id(p) for p in matrices}
        others = [p for p in parameters if id(p) not in matrix_ids]
        super().__init__([{"params": others}, {"params": matrices}], fused=True, **settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all parameters that have a gradient."""
        groups = self.param_groups
        self.param_groups = groups[:1]
        loss = super().step(closure)
        self.param_groups = groups
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in groups[1]["params"]:
            if parameter.grad is not None:
                by_shape[parameter.shape].append(parameter)
        for parameters in by_shape.values():
            self._update_matrices(parameters, groups[1]["lr"], groups[1]["weight_decay"])
        return loss

    def _update_matrices(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        for parameter in parameters:
            if not self.state[parameter]:  # AdamW, when it loads, asks every state for its step
                self.state[parameter].update(step=torch.zeros(()), momentum=torch.zeros_like(parameter))
        momenta = torch.stack([self.state[p]["momentum"] for p in parameters])
        gradients = torch.stack([p.grad for p in parameters if p.grad is not None])
        momenta.lerp_(gradients, 1 - MOMENTUM)
        updates = orthogonalise(gradients.lerp(momenta, MOMENTUM))  # Nesterov's look ahead by a step
        scaled_lr = lr * UPDATE_RMS * max(parameters[0].shape) ** 0.5
        for parameter, momentum, update in zip(parameters, momenta, updates, strict=True):
            self.state[parameter]["momentum"].copy_(momentum)
            parameter.mul_(1 - lr * weight_decay).sub_(scaled_lr * update)


def orthogonalise(
    matrices: Float[Tensor, "n rows columns"], iterations: int = ITERATIONS
) -> Float[Tensor, "n rows columns"]:
    """Replace each matrix U S V^T by about U V^T, through Newton-Schulz iterations.

    Args:
        matrices: Matrices of one shape.
        iterations: How many; the more, the nearer the singular values come to 1, but for tiny ones.
    """
    a, b, c = QUINTIC
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
