"""The heads that predict likes from the language model's last hidden states and from the account's history."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class LikesHead(nn.Sequential):
    """Regressor from what `pool_text_and_image` returns to standardised log(1 + likes).

    Args:
        width: Size of the language model's hidden states; the input has twice as many features.
        hidden: Size of the first hidden layer; the second one has half of it.
    """

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


def pool_text_and_image(
    states: Float[Tensor, "batch token hidden"],
    input_ids: Int[Tensor, "batch token"],
    mask_token: int,
    image_token: int,
) -> Float[Tensor, "batch both"]:
    """Pool the last hidden states of text and image tokens.

    Args:
        states: The last hidden states.
        input_ids: The token ids at the same positions.
        mask_token: Token id of [MASK].
        image_token: Token id of <image>.

    Returns:
        The state at the last [MASK] beside the mean state of the image tokens, which is 0 for a post without frames.
    """
    # In a causal model only the end has attended to everything. The last [MASK] is there; earlier ones mask metadata.
    is_mask = torch.eq(input_ids, mask_token).int()
    last_mask = is_mask.shape[1] - 1 - is_mask.flip(1).argmax(1)
    text = states[torch.arange(len(states), device=states.device), last_mask]
    weight = torch.eq(input_ids, image_token)[..., None].to(states.dtype)
    return torch.cat([text, (states * weight).sum(1) / weight.sum(1).clamp(min=1)], -1)


class ZeroInitLinear(nn.Linear):
    """A linear layer whose weight starts at zero (see `M3L._init_weights`)."""


class HistoryHead(nn.Module):
    """From history features to standardised log(1 + likes): the account's level plus a learned correction.

    The correction starts at 0. Without any history the level is 0, which is the mean of the training posts.

    Args:
        num_features: Number of history features; the first is the account's level.
        hidden: Size of the first hidden layer; the second one has half of it.
    """

    def __init__(self, num_features: int, hidden: int = 64):
        super().__init__()
        self.line = ZeroInitLinear(num_features, 1)
        self.mlp = nn.Sequential(
            nn.Linear(num_features, hidden),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, hidden // 2),
            nn.GELU(),
            ZeroInitLinear(hidden // 2, 1),
        )

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, " batch"]:
        """Predict likes.

        Args:
            features: What `history_features` (m3l/history/features.py) gives for each post.
        """
        return features[:, 0] + self.line(features).squeeze(-1) + self.mlp(features).squeeze(-1)
