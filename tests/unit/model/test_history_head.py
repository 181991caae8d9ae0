"""A model with a history head: before training it predicts the account's level, or what the plain model predicts."""

from datetime import timedelta
from typing import Any

import pytest
import torch

from m3l.data.records import Example, History
from m3l.history.timeline import PastPost, Timeline
from m3l.model.build import build_model
from m3l.model.heads import ZeroInitLinear
from m3l.model.m3l import M3L
from m3l.prompts.collator import Collator
from tests.support.posts import BEHAVIOUR, TINY, example, make_collator


@pytest.fixture(scope="module")
def history_model(model: M3L, processor: Any) -> M3L:
    """A model with a history head and otherwise the plain model's weights."""
    with_history = build_model(TINY.model.model_copy(update={"history": True}), processor, seed=0)
    missing, unexpected = with_history.load_state_dict(model.state_dict(), strict=False)
    assert all(name.startswith("history_head.") for name in missing) and not unexpected
    return with_history.eval()


def with_earlier_post(likes: int) -> Example:
    """An example whose account has one earlier post, of the day before."""
    plain = example()
    assert plain.post.posted_at
    before = plain.post.posted_at - timedelta(days=1)
    line = Timeline("maker", (PastPost(before, "before", likes, ""),))
    (history,) = line.histories([plain.post.posted_at], TINY.history)
    return plain.model_copy(update={"post": plain.post.model_copy(update={"history": history})})


@torch.no_grad()
def predicted(model: M3L, examples: list[Example], collator: Collator) -> torch.Tensor:
    """The predicted likes, standardised."""
    prompts, media = collator.prompts(examples, BEHAVIOUR), collator.media(examples, BEHAVIOUR)
    batch = {**prompts, **collator.history(examples), **media}
    return model(**batch, predict_likes=True).likes


def test_without_a_history_it_starts_as_the_plain_model(model: M3L, history_model: M3L, processor: Any) -> None:
    cold = example()
    cold = cold.model_copy(update={"post": cold.post.model_copy(update={"history": History()})})
    plain = predicted(model, [example()], make_collator(processor))
    assert predicted(history_model, [cold], make_collator(processor, history=True)) == plain
    assert predicted(history_model, [example()], make_collator(processor, history=True)) == plain


def test_it_starts_with_the_accounts_level(history_model: M3L, processor: Any) -> None:
    collator = make_collator(processor, history=True)
    few, many = with_earlier_post(3), with_earlier_post(3000)
    scale = collator.scale
    levels = [e.post.history.level for e in (few, many) if e.post.history and e.post.history.level]
    low, high = predicted(history_model, [few, many], collator).tolist()
    assert high - low == pytest.approx((levels[1] - levels[0]) / scale.std, abs=1e-5)


def test_the_correction_starts_at_zero_and_gets_gradients(processor: Any) -> None:
    model = build_model(TINY.model.model_copy(update={"history": True}), processor, seed=0).train()
    collator, examples = make_collator(processor, history=True), [with_earlier_post(3), with_earlier_post(3000)]
    model(**collator.collate(examples, BEHAVIOUR), **collator.media(examples, BEHAVIOUR)).loss.backward()
    weights = [module.weight for module in model.history_head.modules() if isinstance(module, ZeroInitLinear)]
    assert len(weights) == 2 and not any(weight.any() for weight in weights)
    assert all(weight.grad is not None and weight.grad.any() for weight in weights)
