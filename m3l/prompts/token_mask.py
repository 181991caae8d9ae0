"""Masking inside a prompt: a share of the metadata's tokens, as in BERT (arXiv 1810.04805)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np


@dataclass(frozen=True)
class TokenMask:
    """How many of the tokens that tell a visible field are masked, and what the draw comes from: seed and step.

    All of them become [MASK]. BERT leaves some as they are or replaces them by others, because it predicts them and
    [MASK] never comes up later; here nothing is asked at these places, and every prompt has a [MASK].
    """

    rate: float
    draw: tuple[int, ...]

    def __call__(
        self,
        row: int,
        ids: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        pieces: Sequence[tuple[str, bool]],
        mask_id: int,
    ) -> list[int]:
        """The tokens of a batch's row, whose characters `offsets` tell, some of those inside a field's text masked."""
        ends = list(accumulate(len(text) for text, _ in pieces))
        spans = [(end - len(text), end) for (text, field), end in zip(pieces, ends, strict=True) if field]
        lots = np.random.default_rng((*self.draw, row)).uniform(size=len(ids))
        return [
            mask_id if lot < self.rate and any(_inside(span, place) for span in spans) else token
            for token, place, lot in zip(ids, offsets, lots, strict=True)
        ]


def _inside(span: tuple[int, int], token: tuple[int, int]) -> bool:
    # A tokenizer counts the space before a word to the word's token; a special token that it adds has no characters.
    return span[0] - 1 <= token[0] < token[1] <= span[1] and token[1] > span[0]
