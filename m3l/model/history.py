"""What the account's history adds to the likes head's answer."""

from jaxtyping import Float
from torch import Tensor, nn


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
