"""The regressor of Algorithm 1: the language model's last hidden states -> the likes (method.md, section 3)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class LikesHead(nn.Sequential):
    """[text state, mean image state] -> standardised log1p(likes)."""

    def __init__(self, width: int, hidden: int):
        super().__init__(
            nn.LayerNorm(2 * width),
            nn.Linear(2 * width, hidden),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden // 2),
            nn.GELU(),
            nn.Linear(hidden // 2, 1),
        )


def text_and_image(
    states: Float[Tensor, "batch token hidden"],
    input_ids: Int[Tensor, "batch token"],
    mask_token: int,
    image_token: int,
) -> Float[Tensor, "batch both"]:
    """The state at the last [MASK], beside the mean one of the image tokens: 0 for a post without frames."""
    # In a causal model only the end has read everything: the last [MASK] stands there, others mask metadata.
    masks = torch.eq(input_ids, mask_token).int()
    at = masks.shape[1] - 1 - masks.flip(1).argmax(1)
    text = states[torch.arange(len(states), device=states.device), at]
    weight = torch.eq(input_ids, image_token)[..., None].to(states.dtype)
    return torch.cat([text, (states * weight).sum(1) / weight.sum(1).clamp(min=1)], -1)


class Silent(nn.Linear):
    """A layer that begins as zero (`M3L._init_weights`)."""


class HistoryHead(nn.Module):
    """m3l/history/features.py -> standardised log1p(likes): the account's level, and how the post departs from it.

    It begins as the level alone, which is 0 (the mean of training) where nothing is known.
    """

    def __init__(self, numbers: int, hidden: int = 64):
        super().__init__()
        self.line = Silent(numbers, 1)
        self.mlp = nn.Sequential(
            nn.Linear(numbers, hidden),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, hidden // 2),
            nn.GELU(),
            Silent(hidden // 2, 1),
        )

    def forward(self, numbers: Float[Tensor, "batch number"]) -> Float[Tensor, " batch"]:
        return numbers[:, 0] + self.line(numbers).squeeze(-1) + self.mlp(numbers).squeeze(-1)
