"""The losses of a step as one module, and the weights of the bag-of-words loss."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from m3l.model.m3l import M3L


class StepLoss(nn.Module):
    """The model and its losses as one module, so that DDP or FSDP2 wraps one thing.

    Args:
        model: The model.
        word_weights: The weight of each token of the vocabulary in the bag-of-words loss.
    """

    word_weights: Tensor

    def __init__(self, model: M3L, word_weights: Float[Tensor, " vocabulary"]):
        super().__init__()
        self.model = model
        self.register_buffer("word_weights", word_weights, persistent=False)

    def forward(
        self,
        views: list[dict[str, Tensor]],
        blank: list[bool],
        word_targets: Tensor | None,
        task_batches: list[dict[str, Tensor]],
    ) -> list[Tensor]:
        """Encode each view once, then compute the losses; the arguments are those of a `TrainingBatch`.

        A blank view adds zero to a loss, so that its modules get a gradient of zero and all ranks reduce alike.

        Returns:
            The bag-of-words loss, if there are `word_targets`, then the loss of each task.
        """
        visual = [self.model.encode_media(**view) for view in views]
        if len(visual) == 1:
            outputs = self.model.forward_tasks(task_batches, None if blank[0] else visual[0])
        else:
            outputs = [
                self.model(**batch, visual=None if is_blank else tokens)
                for batch, tokens, is_blank in zip(task_batches, visual, blank, strict=True)
            ]
        losses = [loss for output in outputs if (loss := output.loss) is not None]
        if word_targets is not None:
            losses.insert(0, self._bag_of_words_loss(visual[0], word_targets))
        for tokens, is_blank in zip(visual, blank, strict=True):
            if is_blank:
                losses[0] = losses[0] + 0.0 * tokens.sum()
        return losses

    def _bag_of_words_loss(self, visual: Tensor, word_targets: Tensor) -> Tensor:
        if len(word_targets) == 0:
            return 0.0 * visual.sum()
        return self.model.bag_of_words_loss(visual, word_targets, self.word_weights)


def word_weights(captions: Iterable[list[int]], vocabulary: int) -> Float[Tensor, " vocabulary"]:
    """Inverse document frequency of each token: rare words say most about what media show.

    Args:
        captions: Token ids of each training caption.
        vocabulary: Size of the vocabulary.
    """
    documents, rows = np.zeros(vocabulary), 0
    for caption in captions:
        documents[list(set(caption))] += 1
        rows += 1
    return torch.from_numpy(np.log(max(2, rows) / np.maximum(documents, 1))).float()
