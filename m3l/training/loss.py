"""The losses of one step as one module, and the weights of the bag-of-words loss."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from m3l.model.m3l import M3L


class StepLoss(nn.Module):
    """The model and its losses as one module, so that DDP or FSDP2 wraps one thing."""

    word_weights: Tensor

    def __init__(self, model: M3L, word_weights: Float[Tensor, " vocabulary"]):
        super().__init__()
        self.model = model
        self.register_buffer("word_weights", word_weights, persistent=False)

    def forward(
        self,
        views: list[dict[str, Tensor]],
        blank: list[bool],
        words: Tensor | None,
        batches: list[dict[str, Tensor]],
    ) -> list[Tensor]:
        """The loss of naming the `words`, if any are asked for, then one of each batch; media are seen once.

        A blank view weighs nothing, but its towers get a gradient of zero, alike on every rank.
        """
        seen = [self.model.see(**view) for view in views]
        if len(seen) == 1:
            told = self.model.tell_all(batches, None if blank[0] else seen[0])
        else:
            told = [
                self.model(**batch, visual=None if unseen else visual)
                for batch, visual, unseen in zip(batches, seen, blank, strict=True)
            ]
        losses = [loss for out in told if (loss := out.loss) is not None]
        if words is not None:
            named = self.model.name_words(seen[0], words, self.word_weights) if len(words) else 0.0 * seen[0].sum()
            losses.insert(0, named)
        for visual, unseen in zip(seen, blank, strict=True):
            if unseen:
                losses[0] = losses[0] + 0.0 * visual.sum()
        return losses


def word_weights(answers: Iterable[list[int]], vocabulary: int) -> Float[Tensor, " vocabulary"]:
    """Inverse document frequency of each token over the training captions: a rare word tells what is shown."""
    seen, rows = np.zeros(vocabulary), 0
    for answer in answers:
        seen[list(set(answer))] += 1
        rows += 1
    return torch.from_numpy(np.log(max(2, rows) / np.maximum(seen, 1))).float()
