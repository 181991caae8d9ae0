"""Retrieval: the best frames, in the order in which they were shown."""

import pytest
import torch

from m3l.config import RetrieverConfig
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import contexts, rank

from .pictures import CONFIG, TINY, media, post


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(TINY, seed=0)


def test_rank_puts_frames_back_in_time_order():
    kept = rank(torch.tensor([0.1, 0.9, 0.3, 0.8]), k=3)
    assert [frame.at for frame in kept] == [1, 2, 3]
    assert [frame.score for frame in kept] == pytest.approx([0.9, 0.3, 0.8])


def test_rank_keeps_what_there_is_and_of_equals_the_first():
    assert [frame.at for frame in rank(torch.tensor([1.0, 2.0]), k=10)] == [0, 1]
    assert [frame.at for frame in rank(torch.zeros(5), k=2)] == [0, 1]
    assert rank(torch.zeros(0), k=3) == []


def test_spread_trades_relevance_for_coverage():
    # One subject fills the first half, a slightly less similar one the last quarter; the plain top misses it.
    similarity = torch.tensor([0.9] * 12 + [0.1] * 6 + [0.8] * 6)
    places = {s: [frame.at for frame in rank(similarity, k=8, sharpness=s)] for s in (None, 0.0, 2.0, 1000.0)}
    assert max(places[None]) < 12
    assert sum(at >= 18 for at in places[2.0]) >= 2
    assert not any(12 <= at < 18 for at in places[2.0])
    assert places[0.0] == [1, 4, 7, 10, 13, 16, 19, 22]
    assert max(places[1000.0]) < 12
    assert all(len(set(found)) == 8 and found == sorted(found) for found in places.values())


def test_spread_never_gives_less_than_there_is():
    lone = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])  # every quantile falls on one frame
    assert [frame.at for frame in rank(lone, k=3, sharpness=2.0)] == [0, 1, 2]
    assert [frame.at for frame in rank(torch.zeros(4), k=2, sharpness=2.0)] == [0, 2]
    assert rank(torch.zeros(0), k=3, sharpness=2.0) == []


def test_a_context_holds_the_top_frames_of_the_album_in_order(retriever):
    files = [media(1, 3), media(2, 4)]
    found = contexts(retriever, CONFIG.tasks, [post(0)], [files], RetrieverConfig(top_k=5))[0]
    assert list(found) == ["content", "behaviour"]
    shown = [(file.media_id, frame.time_s) for file in files for frame in file.frames]
    for context in found.values():
        places = [shown.index((frame.media_id, frame.time_s)) for frame in context.frames]
        assert len(places) == 5 and places == sorted(places) and context.error is None


def test_a_context_does_not_depend_on_the_posts_beside_it(retriever):
    posts, files = [post(i) for i in range(3)], [[media(i, 2 + i)] for i in range(3)]
    together = contexts(retriever, CONFIG.tasks, posts, files, RetrieverConfig(top_k=2))[1]["content"]
    alone = contexts(retriever, CONFIG.tasks, posts[1:2], files[1:2], RetrieverConfig(top_k=2))[0]["content"]
    assert [frame.time_s for frame in together.frames] == [frame.time_s for frame in alone.frames]
    assert [f.score for f in together.frames] == pytest.approx([f.score for f in alone.frames], abs=1e-4)


def test_a_post_without_frames_says_why_and_one_with_some_goes_on(retriever):
    dead = media(1, 0, error="not found")
    files = [[], [dead], [dead, media(2, 1)]]
    found = contexts(retriever, CONFIG.tasks, [post(i) for i in range(3)], files, RetrieverConfig(top_k=5))
    assert [context["content"].error for context in found] == ["no media", "not found", None]
    assert [len(context["content"].frames) for context in found] == [0, 0, 1]
