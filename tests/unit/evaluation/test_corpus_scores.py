"""Scores against the truth of the synthetic corpus."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from m3l.evaluation.corpus_scores import CorpusScores

TRUTH = {"subjects": ["fox", "owl"], "expected_log1p": np.log1p(99.0), "media": []}


def scores(**changes: Any) -> dict[str, Any]:
    """The scores of a post without key frames."""
    formula: Any = SimpleNamespace(subjects=["fox", "owl", "cat"])
    embeddings: Any = SimpleNamespace(
        frames=lambda media: np.zeros((0, 0), np.float16), prompts=lambda post_id: np.zeros((2, 4), np.float16)
    )
    row = {"post_id": "1", "seen": True, "kind": "video", "told_caption": "a fox", "shuffled_caption": None} | changes
    return CorpusScores(formula, embeddings, top_k=10)(TRUTH, row, [], [])


@pytest.mark.parametrize(
    ("caption", "names_all", "order_right"),
    [("The fox meets an owl", 1, 1), ("The owl meets a fox", 1, 0), ("The fox", 0, 0)],
)
def test_a_caption_is_scored_by_the_subjects_it_names_and_their_order(
    caption: str, names_all: float, order_right: float
) -> None:
    row = scores(told_caption=caption)
    assert (row["captions.model.names_all"], row["captions.model.order_right"]) == (names_all, order_right)
    assert "captions.model.order_right" not in scores(told_caption=caption, kind="image")


def test_a_bundle_that_predicts_only_likes_has_no_caption_scores() -> None:
    assert scores(told_caption=None) == {"likes.noise_floor": pytest.approx(99.0)}
