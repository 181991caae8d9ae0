"""Predictions of a bundle: accounts without training posts, intervals, captions."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from m3l.config import EvaluateConfig, override
from m3l.data.records import Example
from m3l.inference.bundle import Bundle
from m3l.inference.calibrate import calibrate
from m3l.inference.conformal import Intervals, half_widths
from m3l.inference.simulator import Simulator
from m3l.prompts.collator import LikesScale
from tests.support.posts import TINY, example

INTERVALS = Intervals(known=half_widths(np.linspace(0, 1, 40)), cold=half_widths(np.linspace(0, 2, 10)))


def build_simulator(
    model: Any, processor: Any, new_accounts: str = "hide", accounts: tuple[str, ...] = ("maker",)
) -> Simulator:
    config = override(TINY, {"model.new_accounts": new_accounts})
    return Simulator(Bundle(config, model, processor, LikesScale(5.0, 1.5), None, INTERVALS, frozenset(accounts)))


def test_the_name_of_a_new_account_is_ignored_if_the_bundle_is_configured_so(model: Any, processor: Any) -> None:
    new, nameless, known = (example(0, username=name) for name in ("stranger", "", "maker"))
    named, hidden = build_simulator(model, processor, "name"), build_simulator(model, processor)
    assert hidden.predict_likes([new]) == hidden.predict_likes([nameless]) == named.predict_likes([nameless])
    assert named.predict_likes([nameless]) != named.predict_likes([new])
    assert hidden.generate_captions([new]) == hidden.generate_captions([nameless])
    assert hidden.predict_likes([known]) == named.predict_likes([known])


@pytest.mark.parametrize(("no_repeat_ngram", "repeats"), [(0, True), (1, False)])
def test_a_caption_repeats_ngrams_only_if_allowed(
    model: Any, processor: Any, no_repeat_ngram: int, repeats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated: list[list[int]] = []
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda **arguments: generated.extend((out := generate(**arguments)).tolist()) or out
    )
    settings = EvaluateConfig(max_new_tokens=16, no_repeat_ngram=no_repeat_ngram)
    build_simulator(model, processor).generate_captions([example(n, frames=n) for n in range(3)], settings)
    ends = {processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id}
    captions = [[token for token in row if token not in ends] for row in generated]  # of an untrained model
    assert any(len(set(caption)) < len(caption) for caption in captions) == repeats


def test_intervals_are_nested_and_wider_for_cold_accounts(model: Any, processor: Any) -> None:
    simulator = build_simulator(model, processor)
    known, cold = simulator.predict_likes([example(0), example(0, username="stranger")])
    assert [interval.level for interval in known.intervals] == [50, 80, 95]
    lows, highs = [i.low for i in known.intervals], [i.high for i in known.intervals]
    assert lows == sorted(lows, reverse=True) and lows[0] < known.likes < highs[0] and highs == sorted(highs)
    assert [interval.level for interval in cold.intervals] == [50, 80]  # ten rows are too few for 95%
    half = [np.log1p(predicted.range[1]) - np.log1p(predicted.likes) for predicted in (known, cold)]
    assert half[1] > 1.5 * half[0] > 0


@pytest.mark.parametrize("cold", [0, 30])
def test_calibration_hides_the_names_of_known_accounts_if_there_are_no_cold_ones(
    model: Any, processor: Any, cold: int
) -> None:
    simulator = build_simulator(model, processor)
    rows = [example(n % 3, likes=40 + n) for n in range(30)]
    rows += [example(n % 3, likes=4000 + n, username="stranger") for n in range(cold)]

    def read() -> Iterator[list[Example]]:
        yield from (rows[start : start + 8] for start in range(0, len(rows), 8))

    intervals = calibrate(simulator, read)
    # Without cold accounts the 30 posts are of one known account and have the weight of one row together.
    assert (intervals.known.rows, intervals.cold.rows) == (30, cold or 1)
    assert intervals.cold_rows == ("cold" if cold else "hidden")
    for group, widths in ((rows[:30], intervals.known), (rows[30:], intervals.cold))[: 2 if cold else 1]:
        errors = np.abs(np.log1p([row.post.likes for row in group]) - simulator.predict_log1p(group))
        assert np.mean(errors <= widths.half[80]) == pytest.approx(25 / 30)  # the 25th of 30: 31 x 0.8, rounded up


def test_the_nll_of_captions_equals_the_training_loss(model: Any, processor: Any) -> None:
    simulator = build_simulator(model, processor)
    task, posts = simulator.task("caption"), [example(0, frames=2), example(1, frames=0), example(2)]
    nll, tokens = zip(*simulator.caption_nll(posts), strict=True)
    batch = simulator.collator.collate(posts, task) | simulator.collator.media(posts, task)
    with torch.no_grad():
        mean = simulator.model(**batch).loss.item()
    assert sum(nll) / sum(tokens) == pytest.approx(mean, rel=1e-5)
    assert simulator.caption_nll(posts[1:2])[0] == pytest.approx((nll[1], tokens[1]), rel=1e-4)
