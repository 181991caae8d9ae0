"""Answers of a bundle: what it makes of accounts that its training never saw, and how sure it is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from m3l.config import EvaluateConfig, override
from m3l.data.records import Example
from m3l.inference.bundle import Bundle
from m3l.inference.calibrate import calibrate
from m3l.inference.conformal import Intervals, widths
from m3l.inference.simulator import Simulator
from m3l.prompts.collator import LikesScale
from tests.support.posts import TINY, example

INTERVALS = Intervals(known=widths(np.linspace(0, 1, 40)), cold=widths(np.linspace(0, 2, 10)))


def simulator(model: Any, processor: Any, new_accounts: str = "hide", known: tuple[str, ...] = ("maker",)) -> Simulator:
    config = override(TINY, {"model.new_accounts": new_accounts})
    return Simulator(Bundle(config, model, processor, LikesScale(5.0, 1.5), None, INTERVALS, frozenset(known)))


def test_a_new_accounts_name_is_hidden_where_the_bundle_says_so(model: Any, processor: Any) -> None:
    new, nobody, known = (example(0, username=name) for name in ("stranger", "", "maker"))
    named, hidden = simulator(model, processor, "name"), simulator(model, processor)
    assert hidden.likes([new]) == hidden.likes([nobody]) == named.likes([nobody]) != named.likes([new])
    assert hidden.captions([new]) == hidden.captions([nobody])
    assert hidden.likes([known]) == named.likes([known])


@pytest.mark.parametrize(("longest", "repeats"), [(0, True), (1, False)])
def test_a_caption_repeats_itself_only_where_it_may(
    model: Any, processor: Any, longest: int, repeats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[int]] = []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **given: made.extend((out := generate(**given)).tolist()) or out)
    settings = EvaluateConfig(max_new_tokens=16, no_repeat_ngram=longest)
    simulator(model, processor).captions([example(n, frames=n) for n in range(3)], settings)
    ends = {processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id}
    told = [[token for token in row if token not in ends] for row in made]  # by a model that was never trained
    assert any(len(set(row)) < len(row) for row in told) == repeats


def test_intervals_are_nested_and_wider_for_cold_accounts(model: Any, processor: Any) -> None:
    known, cold = simulator(model, processor).likes([example(0), example(0, username="stranger")])
    assert [interval.level for interval in known.intervals] == [50, 80, 95]
    lows, highs = [i.low for i in known.intervals], [i.high for i in known.intervals]
    assert lows == sorted(lows, reverse=True) and lows[0] < known.likes < highs[0] and highs == sorted(highs)
    assert [interval.level for interval in cold.intervals] == [50, 80]  # ten rows cannot tell of 95%
    ratio = [np.log1p(told.range[1]) - np.log1p(told.likes) for told in (known, cold)]
    assert ratio[1] > 1.5 * ratio[0] > 0


@pytest.mark.parametrize("cold", [0, 30])
def test_calibration_takes_cold_accounts_or_hides_the_names_of_known_ones(
    model: Any, processor: Any, cold: int
) -> None:
    told = simulator(model, processor)
    rows = [example(n % 3, likes=40 + n) for n in range(30)]
    rows += [example(n % 3, likes=4000 + n, username="stranger") for n in range(cold)]

    def read() -> Iterator[list[Example]]:
        yield from (rows[start : start + 8] for start in range(0, len(rows), 8))

    made = calibrate(told, read)
    assert (made.known.rows, made.cold.rows) == (30, cold or 1)  # of one account, whose posts count as one
    assert made.cold_rows == ("cold" if cold else "hidden")
    for group, found in ((rows[:30], made.known), (rows[30:], made.cold))[: 2 if cold else 1]:
        off = np.abs(np.log1p([row.post.likes for row in group]) - told.log1p(group))
        assert np.mean(off <= found.half[80]) == pytest.approx(25 / 30)  # the 25th of 30: 31 x 0.8, rounded up


def test_the_surprise_of_captions_is_that_of_training(model: Any, processor: Any) -> None:
    told = simulator(model, processor)
    task, posts = told.task("caption"), [example(0, frames=2), example(1, frames=0), example(2)]
    nll, tokens = zip(*told.surprise(posts), strict=True)
    batch = told.collator.training(posts, task) | told.collator.media(posts, task)
    with torch.no_grad():
        mean = told.model(**batch).loss.item()
    assert sum(nll) / sum(tokens) == pytest.approx(mean, rel=1e-5)
    assert told.surprise(posts[1:2])[0] == pytest.approx((nll[1], tokens[1]), rel=1e-4)
