"""A share of the metadata's tokens is masked in training, and nothing else is."""

from typing import Any

import pytest
import torch

from m3l.config import TaskConfig
from m3l.model.m3l import M3L
from m3l.prompts.render import pieces, render
from m3l.prompts.token_mask import TokenMask
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, collator, example
from tests.unit.training.test_trainer import POSTS, learner

ALL = TokenMask(1.0, (0, 0))


@pytest.mark.parametrize("task", [CONTENT, BEHAVIOUR])
def test_the_pieces_are_the_prompt(task: TaskConfig) -> None:
    told = pieces(task, example().post)
    assert "".join(text for text, _ in told) == render(task, example().post)
    shown = ["maker", "2020-07-19", "00:07:00", "78" if task is CONTENT else "a red fox runs"]
    assert [text for text, field in told if field] == shown


@pytest.mark.parametrize("task", [CONTENT, BEHAVIOUR])
def test_of_a_prompt_only_the_fields_can_be_masked(processor: Any, task: TaskConfig) -> None:
    made, tokenizer = collator(processor), processor.tokenizer
    plain, hidden = (made.training([example(0), example(1, frames=0)], task, masking=m) for m in (None, ALL))
    same = plain["input_ids"] == hidden["input_ids"]
    assert (hidden["input_ids"][~same] == tokenizer.mask_token_id).all()
    left = tokenizer.decode([i for i in hidden["input_ids"][0].tolist() if i != tokenizer.mask_token_id])
    assert all(text not in left for text in ("maker", "2020-07-19", "00:07:00"))
    assert all(text in left for text in ("Username is", "Release Date is", "Release Time is", "Predicted"))
    assert hidden.keys() == plain.keys()
    for name in hidden.keys() - {"input_ids"}:
        assert (hidden[name] == plain[name]).all()
    if "labels" in plain:  # the answer is read as it is
        assert same[plain["labels"] != -100].all()


def test_the_share_follows_the_rate_and_the_draw_the_seed_and_the_step(processor: Any) -> None:
    def masked(rate: float, *draw: int) -> torch.Tensor:
        posts = [example(number % 3, frames=0) for number in range(60)]
        ids = collator(processor).prompts(posts, BEHAVIOUR, masking=TokenMask(rate, draw))["input_ids"]
        return ids == processor.tokenizer.mask_token_id

    every, some = masked(1.0, 0, 0), masked(0.3, 0, 0)
    prompts = len(every)  # each has one [MASK] of its own
    assert (some.sum() - prompts) / (every.sum() - prompts) == pytest.approx(0.3, abs=0.06)
    assert (masked(0.3, 0, 0) == some).all()
    assert (masked(0.3, 0, 1) != some).any() and (masked(0.3, 1, 0) != some).any()
    assert (some[0] != some[3]).any()  # two rows of equal posts


def test_training_masks_and_evaluation_does_not(processor: Any) -> None:
    read: list[int] = []
    taught = learner(processor, schedule="joint", token_mask_rate=0.9)
    tell = taught.model._tell
    count = lambda ids: read.append(int((ids == processor.tokenizer.mask_token_id).sum()))  # noqa: E731
    taught.model._tell = lambda states, **batch: count(batch["input_ids"]) or tell(states, **batch)  # type: ignore
    taught.step([POSTS])
    assert min(read) > 3 * len(POSTS)
    read.clear()
    taught.evaluate(POSTS)
    assert read == [len(POSTS)] * len(TINY.tasks)


def test_likes_are_told_at_the_last_mask(model: M3L, processor: Any) -> None:
    mask = processor.tokenizer.mask_token_id
    ids = torch.tensor([[mask, 7, mask, 8], [7, mask, 8, 9]])
    states = torch.randn(2, 4, TINY.model.tiny.text_hidden)
    text = states[[0, 1], [2, 1]]
    with torch.no_grad():
        told = model._likes(states, ids)
        expected = model.likes_head(torch.cat([text, torch.zeros_like(text)], 1)).squeeze(1)
    torch.testing.assert_close(told, expected)
