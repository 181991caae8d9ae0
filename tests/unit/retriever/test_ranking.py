"""Retrieval: the best frames of a post, in time order."""

from itertools import combinations

import numpy as np
import pytest

from m3l.config import RetrieverConfig
from m3l.retriever.clip import Retriever
from m3l.retriever.ranking import retrieve_contexts, select_frames
from tests.support.retrievers import CLIP, CONFIG, media_frames, post


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(CLIP, seed=0)


def selected_indices(similarity, k, diversity=None, frames=None):
    """The indices that `select_frames` selects from frames with these similarities.

    The frames are orthogonal to each other unless `frames` holds their embeddings.
    """
    content = np.eye(len(similarity), dtype=np.float32) if frames is None else np.array(frames, np.float32)
    embedded = np.column_stack([content, np.array(similarity, np.float32)])
    # The query is nonzero in the last dimension only.
    query = np.eye(embedded.shape[1], dtype=np.float32)[-1]
    selected = select_frames(query, embedded, k, diversity)
    assert [frame.score for frame in selected] == pytest.approx([similarity[frame.position] for frame in selected])
    return [frame.position for frame in selected]


def test_selected_frames_are_returned_in_time_order():
    assert selected_indices([0.1, 0.9, 0.3, 0.8], k=3) == [1, 2, 3]
    assert selected_indices([-0.1, -0.9, -0.3, -0.8], k=2) == [0, 2]


@pytest.mark.parametrize("diversity", [None, 0.0, 0.15])
def test_short_videos_are_kept_whole_and_ties_go_to_the_first_frame(diversity):
    assert selected_indices([1.0, 2.0], 10, diversity) == [0, 1]
    assert selected_indices([0.0] * 5, 2, diversity) == [0, 1]
    assert select_frames(np.zeros(4, np.float32), np.zeros((0, 4), np.float32), 3, diversity) == []


def test_diversity_trades_relevance_for_different_content():
    # The plain top k misses the subjects of the last frames, which are less similar to the prompt.
    similarity = [0.9] * 12 + [0.8] * 3 + [0.1] * 3
    kind = [[5, 0, 0]] * 12 + [[0, 5, 0]] * 3 + [[0, 0, 5]] * 3
    assert selected_indices(similarity, 4, None, kind) == selected_indices(similarity, 4, 0.0, kind) == [0, 1, 2, 3]
    assert selected_indices(similarity, 4, 1e-6, kind) == [0, 1, 2, 3]
    assert selected_indices(similarity, 4, 0.15, kind) == [0, 1, 2, 12]
    assert selected_indices(similarity, 3, 5.0, kind) == [0, 12, 15]


def test_duplicates_are_selected_last_and_stay_numerically_stable():
    duplicates = np.ones((6, 3)).tolist()
    assert selected_indices([0.5] * 6, 4, 0.15, duplicates) == [0, 1, 2, 3]
    copies = [[9, 0], [9, 0], [9, 0], [0, 9]]
    assert selected_indices([-1.0, -1.0, -1.0, -2.0], 2, 3.0, copies) == [0, 3]
    assert selected_indices([-1.0, -1.0, -1.0, -2.0], 3, 3.0, copies) == [0, 1, 3]
    noisy = np.ones((40, 8), np.float32) + 1e-4 * np.random.default_rng(0).standard_normal((40, 8), np.float32)
    assert len(set(selected_indices(np.linspace(-1, 1, 40).tolist(), 30, 0.15, noisy))) == 30


def test_the_greedy_selection_is_among_the_best_of_an_exhaustive_search():
    """Greedy inference only approximates the best subset, so it must be among the best five."""
    random = np.random.default_rng(0)
    frames = random.standard_normal((9, 4)).astype(np.float32)
    query = random.standard_normal(4).astype(np.float32)
    similarity = frames @ query
    relevance = (similarity - similarity.min()) / np.ptp(similarity)
    unit = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    kernel = 0.99 * unit @ unit.T + 0.01 * np.eye(9)

    def objective(subset):
        return relevance[list(subset)].sum() + 0.3 * np.linalg.slogdet(kernel[np.ix_(subset, subset)])[1]

    greedy = [frame.position for frame in select_frames(query, frames, 3, 0.3)]
    exhaustive = sorted((objective(subset) for subset in combinations(range(9), 3)), reverse=True)
    assert objective(greedy) >= exhaustive[4]  # among the best 5 of 84


def test_a_context_holds_the_top_frames_of_all_media_in_order(retriever):
    files = [media_frames(1, 3), media_frames(2, 4)]
    contexts = retrieve_contexts(retriever, CONFIG.tasks, [post(0)], [files], RetrieverConfig(top_k=5))[0]
    assert list(contexts) == ["content", "behaviour"]
    shown = [(file.media_id, frame.time_s) for file in files for frame in file.frames]
    for context in contexts.values():
        positions = [shown.index((frame.media_id, frame.time_s)) for frame in context.frames]
        assert len(positions) == 5 and positions == sorted(positions) and context.error is None


def test_a_context_does_not_depend_on_the_other_posts_of_its_batch(retriever):
    posts, files = [post(i) for i in range(3)], [[media_frames(i, 2 + i)] for i in range(3)]
    together = retrieve_contexts(retriever, CONFIG.tasks, posts, files, RetrieverConfig(top_k=2))[1]["content"]
    alone = retrieve_contexts(retriever, CONFIG.tasks, posts[1:2], files[1:2], RetrieverConfig(top_k=2))[0]["content"]
    assert [frame.time_s for frame in together.frames] == [frame.time_s for frame in alone.frames]
    assert [f.score for f in together.frames] == pytest.approx([f.score for f in alone.frames], abs=1e-4)


def test_a_post_without_frames_has_an_error_and_one_with_some_frames_has_none(retriever):
    unreadable = media_frames(1, 0, error="not found")
    files = [[], [unreadable], [unreadable, media_frames(2, 1)]]
    contexts = retrieve_contexts(retriever, CONFIG.tasks, [post(i) for i in range(3)], files, RetrieverConfig(top_k=5))
    assert [context["content"].error for context in contexts] == ["no media", "not found", None]
    assert [len(context["content"].frames) for context in contexts] == [0, 0, 1]
