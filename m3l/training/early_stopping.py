"""Early stopping: keeps the weights of the best evaluation, and ends training when it no longer improves."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class EarlyStopping:
    """Follows the validation loss; without a `patience` it does nothing.

    Args:
        trainable: The parameters that train, by name. A copy of the best ones is kept beside them.
        patience: Evaluations without improvement after which training stops; None: never.
    """

    def __init__(self, trainable: Mapping[str, Tensor], patience: int | None):
        self.trainable, self.patience = trainable, patience
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.best_weights: dict[str, Tensor] = {}

    @property
    def should_stop(self) -> bool:
        return self.patience is not None and self.evaluations_since_best >= self.patience

    def update(self, losses: Mapping[str, float]) -> None:
        """Take an evaluation's losses into account; their sum is what should improve."""
        if self.patience is None or not losses:
            return
        loss = sum(losses.values())
        if loss < self.best_loss:
            self.best_loss, self.evaluations_since_best = loss, 0
            self.best_weights = {name: tensor.detach().clone() for name, tensor in self.trainable.items()}
        else:
            self.evaluations_since_best += 1

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back, if there was an evaluation."""
        for name, tensor in self.best_weights.items():
            self.trainable[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        """The state without the weights, for JSON."""
        return {"loss": self.best_loss if self.best_weights else None, "waited": self.evaluations_since_best}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; `best_weights` is only allocated, if there were any."""
        self.evaluations_since_best = state["waited"]
        if state["loss"] is not None:
            self.best_loss = state["loss"]
            self.best_weights = {name: torch.empty_like(tensor) for name, tensor in self.trainable.items()}
