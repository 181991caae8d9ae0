"""Answers of a bundle: what it makes of accounts that its training never saw."""

from typing import Any

import pytest

from m3l.batch import LikesScale
from m3l.bundle import Bundle
from m3l.config import ClipConfig
from m3l.retriever.clip import Retriever
from m3l.simulate import Simulator

from .made import TINY, example


@pytest.fixture
def simulators(model: Any, processor: Any) -> dict[str, Simulator]:
    retriever = Retriever.build(ClipConfig(tiny=True), seed=0)
    made = {}
    for new_accounts in ("name", "hide"):
        config = TINY.model_copy(update={"model": TINY.model.model_copy(update={"new_accounts": new_accounts})})
        bundle = Bundle(config, model, processor, LikesScale(5.0, 1.5), retriever, 0.5, frozenset({"maker"}))
        made[new_accounts] = Simulator(bundle, retriever)
    return made


def test_a_new_accounts_name_is_hidden_where_the_bundle_says_so(simulators: dict[str, Simulator]) -> None:
    new, nobody, known = (example(0, username=name) for name in ("stranger", "", "maker"))
    named, hidden = simulators["name"], simulators["hide"]
    assert hidden.likes([new]) == hidden.likes([nobody]) == named.likes([nobody]) != named.likes([new])
    assert hidden.captions([new]) == hidden.captions([nobody])
    assert hidden.likes([known]) == named.likes([known])
