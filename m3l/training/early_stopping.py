"""Early stopping: the weights of the best evaluation are kept, and training ends when none is better for long."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class EarlyStopping:
    """Follows the validation loss of the `trainable` weights; without a `patience` it does nothing."""

    def __init__(self, trainable: Mapping[str, Tensor], patience: int | None):
        self.trainable, self.patience = trainable, patience
        self.loss, self.waited = math.inf, 0  # of the best evaluation; evaluations since then
        self.best: dict[str, Tensor] = {}

    @property
    def over(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def hear(self, losses: Mapping[str, float]) -> None:
        """One evaluation's losses, by head; they count alike."""
        if self.patience is None or not losses:
            return
        loss = sum(losses.values())
        if loss < self.loss:
            self.loss, self.waited = loss, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.trainable.items()}
        else:
            self.waited += 1

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back, if an evaluation was heard."""
        for name, tensor in self.best.items():
            self.trainable[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        return {"loss": self.loss if self.best else None, "waited": self.waited}

    def load(self, state: Mapping[str, Any]) -> None:
        """Without the weights; `best` gets room for them if there were any."""
        self.waited = state["waited"]
        if state["loss"] is not None:
            self.loss = state["loss"]
            self.best = {name: torch.empty_like(tensor) for name, tensor in self.trainable.items()}
