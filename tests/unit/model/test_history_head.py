"""A model that reads histories: it begins as the account's level, and as the plain model where nothing is known."""

from datetime import timedelta
from typing import Any

import pytest
import torch

from m3l.data.records import Example, History
from m3l.history.timeline import Known, Timeline
from m3l.model.build import build_model
from m3l.model.heads import Silent
from m3l.model.m3l import M3L
from tests.support.posts import BEHAVIOUR, TINY, collator, example


@pytest.fixture(scope="module")
def reads_history(model: M3L, processor: Any) -> M3L:
    """The plain model's weights in a model that reads histories."""
    made = build_model(TINY.model.model_copy(update={"history": True}), processor, seed=0)
    missing, unknown = made.load_state_dict(model.state_dict(), strict=False)
    assert all(name.startswith("history_head.") for name in missing) and not unknown
    return made.eval()


def known(likes: int) -> Example:
    """The example's account had one post the day before."""
    plain = example()
    assert plain.post.posted_at
    before = plain.post.posted_at - timedelta(days=1)
    line = Timeline("maker", (Known(before, "before", likes, ""),))
    (history,) = line.histories([plain.post.posted_at], TINY.history)
    return plain.model_copy(update={"post": plain.post.model_copy(update={"history": history})})


@torch.no_grad()
def told(model: M3L, examples: list[Example], made: Any) -> torch.Tensor:
    batch = {**made.prompts(examples, BEHAVIOUR), **made.history(examples), **made.media(examples, BEHAVIOUR)}
    return model(**batch, tell_likes=True).likes


def test_where_nothing_is_known_it_begins_as_the_plain_model(model: M3L, reads_history: M3L, processor: Any) -> None:
    cold = example()
    cold = cold.model_copy(update={"post": cold.post.model_copy(update={"history": History()})})
    plain = told(model, [example()], collator(processor))
    assert told(reads_history, [cold], collator(processor, history=True)) == plain
    assert told(reads_history, [example()], collator(processor, history=True)) == plain


def test_it_begins_with_the_accounts_level(reads_history: M3L, processor: Any) -> None:
    made = collator(processor, history=True)
    few, many = known(3), known(3000)
    scale = made.scale
    levels = [e.post.history.level for e in (few, many) if e.post.history and e.post.history.level]
    low, high = told(reads_history, [few, many], made).tolist()
    assert high - low == pytest.approx((levels[1] - levels[0]) / scale.std, abs=1e-5)


def test_it_learns_what_departs_from_the_level(processor: Any) -> None:
    model = build_model(TINY.model.model_copy(update={"history": True}), processor, seed=0).train()
    made, examples = collator(processor, history=True), [known(3), known(3000)]
    model(**made.training(examples, BEHAVIOUR), **made.media(examples, BEHAVIOUR)).loss.backward()
    silent = [module.weight for module in model.history_head.modules() if isinstance(module, Silent)]
    assert len(silent) == 2 and not any(weight.any() for weight in silent)
    assert all(weight.grad is not None and weight.grad.any() for weight in silent)
