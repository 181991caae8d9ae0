"""The configuration and the outputs of M3L."""

from dataclasses import dataclass
from typing import no_type_check

from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers import InstructBlipConfig
from transformers.modeling_outputs import ModelOutput


@no_type_check  # `strict` checks it, and accepts the settings of other versions, which its signature does not list
@strict
class M3LConfig(InstructBlipConfig):
    """InstructBLIP's configuration and that of the parts that M3L adds.

    Args:
        tformer_layers: Number of the T-Former's layers.
        head_hidden: Width of the likes head's hidden layer.
        history_numbers: Number of history features that the likes head reads; 0 for a model without a history head.
        mask_token_id: Token id of [MASK] in the language model's vocabulary.
    """

    tformer_layers: int = 2
    head_hidden: int = 512
    history_numbers: int = 0
    mask_token_id: int = -1


@dataclass
class M3LOutput(ModelOutput):
    """The predictions and losses of one task.

    Args:
        loss: The sum of the losses below that were asked for.
        nll: Negative log-likelihood of the caption, the mean over its tokens.
        mse: Mean squared error of the standardised log(1 + likes).
        likes: Predicted likes of shape (batch,), as standardised log(1 + likes).
    """

    loss: Tensor | None = None
    nll: Tensor | None = None
    mse: Tensor | None = None
    likes: Tensor | None = None
