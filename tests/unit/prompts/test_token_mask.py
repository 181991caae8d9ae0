"""In training a share of the metadata's tokens is masked, and nothing else."""

from typing import Any

import pytest
import torch

from m3l.config import TaskConfig
from m3l.model.config import M3LOutput
from m3l.model.m3l import M3L
from m3l.prompts.render import prompt_pieces, render
from m3l.prompts.token_mask import TokenMask
from tests.support.models import ROWS, make_trainer
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, example, make_collator

ALL = TokenMask(1.0, (0, 0))


@pytest.mark.parametrize("task", [CONTENT, BEHAVIOUR])
def test_the_pieces_join_to_the_prompt_and_mark_the_values_of_fields(task: TaskConfig) -> None:
    pieces = prompt_pieces(task, example().post)
    assert "".join(piece.text for piece in pieces) == render(task, example().post)
    values = ["maker", "2020-07-19", "00:07:00", "78" if task is CONTENT else "a red fox runs"]
    assert [piece.text for piece in pieces if piece.is_field] == values


@pytest.mark.parametrize("task", [CONTENT, BEHAVIOUR])
def test_only_the_values_of_fields_are_masked(processor: Any, task: TaskConfig) -> None:
    collator, tokenizer, posts = make_collator(processor), processor.tokenizer, [example(0), example(1, frames=0)]
    plain, masked = (collator.collate(posts, task, token_mask=token_mask) for token_mask in (None, ALL))
    same = plain["input_ids"] == masked["input_ids"]
    assert (masked["input_ids"][~same] == tokenizer.mask_token_id).all()
    visible = tokenizer.decode([i for i in masked["input_ids"][0].tolist() if i != tokenizer.mask_token_id])
    assert all(text not in visible for text in ("maker", "2020-07-19", "00:07:00"))
    assert all(text in visible for text in ("Username is", "Release Date is", "Release Time is", "Predicted"))
    assert masked.keys() == plain.keys()
    for name in masked.keys() - {"input_ids"}:
        assert (masked[name] == plain[name]).all()
    if "labels" in plain:  # the target's tokens are not masked
        assert same[plain["labels"] != -100].all()


def test_the_masked_share_is_the_rate_and_the_draw_depends_on_seed_step_and_row(processor: Any) -> None:
    def masked(rate: float, *seed: int) -> torch.Tensor:
        posts = [example(number % 3, frames=0) for number in range(60)]
        ids = make_collator(processor).prompts(posts, BEHAVIOUR, token_mask=TokenMask(rate, seed))["input_ids"]
        return ids == processor.tokenizer.mask_token_id

    every, some = masked(1.0, 0, 0), masked(0.3, 0, 0)
    prompts = len(every)  # each ends with one [MASK]
    assert (some.sum() - prompts) / (every.sum() - prompts) == pytest.approx(0.3, abs=0.06)
    assert (masked(0.3, 0, 0) == some).all()
    assert (masked(0.3, 0, 1) != some).any() and (masked(0.3, 1, 0) != some).any()
    assert (some[0] != some[3]).any()  # two rows of equal posts


def test_training_masks_and_evaluation_does_not(processor: Any) -> None:
    counts: list[int] = []
    trainer = make_trainer(processor, schedule="joint", token_mask_rate=0.9)
    heads_and_losses = trainer.model._heads_and_losses

    def counted(states: torch.Tensor, input_ids: torch.Tensor, *args: Any, **batch: Any) -> M3LOutput:
        counts.append(int((input_ids == processor.tokenizer.mask_token_id).sum()))
        return heads_and_losses(states, input_ids, *args, **batch)

    trainer.model._heads_and_losses = counted  # type: ignore[method-assign]
    trainer.step([ROWS])
    assert min(counts) > 3 * len(ROWS)
    counts.clear()
    trainer.evaluate(ROWS)
    assert counts == [len(ROWS)] * len(TINY.tasks)


def test_likes_are_predicted_from_the_state_at_the_last_mask(model: M3L, processor: Any) -> None:
    mask = processor.tokenizer.mask_token_id
    ids = torch.tensor([[mask, 7, mask, 8], [7, mask, 8, 9]])
    states = torch.randn(2, 4, TINY.model.tiny.text_hidden)
    text = states[[0, 1], [2, 1]]
    with torch.no_grad():
        predicted = model._predict_likes(states, ids)
        expected = model.likes_head(torch.cat([text, torch.zeros_like(text)], 1)).squeeze(1)
    torch.testing.assert_close(predicted, expected)
