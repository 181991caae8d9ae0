"""Retrieval: the best frames, in the order in which they were shown."""

from itertools import combinations

import numpy as np
import pytest

from m3l.config import RetrieverConfig
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import contexts, rank
from tests.support.pictures import CONFIG, TINY, media, post


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(TINY, seed=0)


def places(similarity, k, diversity=None, frames=None):
    """Which frames are kept of frames with these similarities: of one kind each, unless their embeddings are given."""
    alone = np.eye(len(similarity), dtype=np.float32) if frames is None else np.array(frames, np.float32)
    embedded = np.column_stack([alone, np.array(similarity, np.float32)])  # the query reads the last number alone
    query = np.eye(embedded.shape[1], dtype=np.float32)[-1]
    kept = rank(query, embedded, k, diversity)
    assert [frame.score for frame in kept] == pytest.approx([similarity[frame.at] for frame in kept])
    return [frame.at for frame in kept]


def test_rank_puts_frames_back_in_time_order():
    assert places([0.1, 0.9, 0.3, 0.8], k=3) == [1, 2, 3]
    assert places([-0.1, -0.9, -0.3, -0.8], k=2) == [0, 2]


@pytest.mark.parametrize("diversity", [None, 0.0, 0.15])
def test_rank_keeps_what_there_is_and_of_equals_the_first(diversity):
    assert places([1.0, 2.0], 10, diversity) == [0, 1]
    assert places([0.0] * 5, 2, diversity) == [0, 1]
    assert rank(np.zeros(4, np.float32), np.zeros((0, 4), np.float32), 3, diversity) == []


def test_diversity_trades_relevance_for_frames_that_tell_something_else():
    # Two subjects; the one that is less like the prompt comes in the last frames, and the plain top misses it.
    similarity = [0.9] * 12 + [0.8] * 3 + [0.1] * 3
    kind = [[5, 0, 0]] * 12 + [[0, 5, 0]] * 3 + [[0, 0, 5]] * 3
    assert places(similarity, 4, None, kind) == places(similarity, 4, 0.0, kind) == [0, 1, 2, 3]
    assert places(similarity, 4, 1e-6, kind) == [0, 1, 2, 3]
    assert places(similarity, 4, 0.15, kind) == [0, 1, 2, 12]
    assert places(similarity, 3, 5.0, kind) == [0, 12, 15]


def test_copies_of_a_frame_are_taken_last_and_never_break_it():
    same = np.ones((6, 3)).tolist()
    assert places([0.5] * 6, 4, 0.15, same) == [0, 1, 2, 3]
    copies = [[9, 0], [9, 0], [9, 0], [0, 9]]
    assert places([-1.0, -1.0, -1.0, -2.0], 2, 3.0, copies) == [0, 3]
    assert places([-1.0, -1.0, -1.0, -2.0], 3, 3.0, copies) == [0, 1, 3]
    noisy = np.ones((40, 8), np.float32) + 1e-4 * np.random.default_rng(0).standard_normal((40, 8), np.float32)
    assert len(set(places(np.linspace(-1, 1, 40).tolist(), 30, 0.15, noisy))) == 30


def test_diversity_finds_what_an_exhaustive_search_finds():
    """log det of the chosen frames' kernel is within what the greedy way may lose (1 - 1/e of the best gain)."""
    random = np.random.default_rng(0)
    frames = random.standard_normal((9, 4)).astype(np.float32)
    query = random.standard_normal(4).astype(np.float32)
    similarity = frames @ query
    relevance = (similarity - similarity.min()) / np.ptp(similarity)
    unit = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    kernel = 0.99 * unit @ unit.T + 0.01 * np.eye(9)

    def worth(chosen):
        return relevance[list(chosen)].sum() + 0.3 * np.linalg.slogdet(kernel[np.ix_(chosen, chosen)])[1]

    found = [frame.at for frame in rank(query, frames, 3, 0.3)]
    every = sorted((worth(chosen) for chosen in combinations(range(9), 3)), reverse=True)
    assert worth(found) >= every[4]  # among the best 5 of 84


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
