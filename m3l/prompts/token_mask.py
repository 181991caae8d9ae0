"""Masking inside a prompt: a share of the metadata's tokens, as in BERT (arXiv 1810.04805)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from m3l.prompts.render import PromptPiece


@dataclass(frozen=True)
class TokenMask:
    """Replaces random tokens of a prompt's field values with [MASK].

    BERT leaves some of the chosen tokens unchanged or replaces them with others, because it predicts them and [MASK]
    never occurs after pre-training. Here nothing is predicted at these positions, and every prompt has a [MASK].

    Args:
        rate: The probability that a token of a field's value is masked.
        seed: The seed of the draw, such as (seed of the run, step).
    """

    rate: float
    seed: tuple[int, ...]

    def __call__(
        self,
        row: int,
        ids: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        pieces: Sequence[PromptPiece],
        mask_id: int,
    ) -> list[int]:
        """Mask the tokens of one prompt.

        Args:
            row: The prompt's index in its batch, which becomes part of the seed.
            ids: The token ids of the prompt.
            offsets: The first character of each token in the prompt, and the one after its last.
            pieces: The pieces of the prompt, from `prompt_pieces`.
            mask_id: The token id of [MASK].

        Returns:
            The token ids, some of those inside a field's value replaced by `mask_id`.
        """
        ends = list(accumulate(len(piece.text) for piece in pieces))
        spans = [(end - len(piece.text), end) for piece, end in zip(pieces, ends, strict=True) if piece.is_field]
        draws = np.random.default_rng((*self.seed, row)).uniform(size=len(ids))
        return [
            mask_id if draw < self.rate and any(_is_inside(span, offset) for span in spans) else token
            for token, offset, draw in zip(ids, offsets, draws, strict=True)
        ]


def _is_inside(span: tuple[int, int], token: tuple[int, int]) -> bool:
    # A tokenizer counts the space before a word to the word's token; a special token that it adds has no characters.
    return span[0] - 1 <= token[0] < token[1] <= span[1] and token[1] > span[0]
