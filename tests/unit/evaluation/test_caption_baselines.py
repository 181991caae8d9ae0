from datetime import UTC, datetime, timedelta

import pytest

from m3l.data.records import Post
from m3l.evaluation.caption_baselines import ConstantCaption, NearestCaption

START = datetime(2019, 1, 1, tzinfo=UTC)


def post(number: int, username: str = "a", **fields: object) -> Post:
    when = START + timedelta(hours=5 * number)
    return Post(**{"post_id": str(number), "username": username, "posted_at": when} | fields)


def test_the_nearest_caption_is_the_accounts_last_one_else_the_nearest_in_time() -> None:
    rows = [post(n, u, caption=f"{u}{n}") for n, u in [(0, "a"), (4, "a"), (6, "b"), (9, "a")]]
    fitted = NearestCaption().fit([*rows, post(5, "a", caption=None)])
    posts = [post(5, "a"), post(4, "a"), post(5, "b"), post(8, "stranger"), post(99, "b")]
    assert fitted.predict(posts) == ["a4", "a0", "a4", "a9", "b6"]


def test_the_constant_caption_has_the_words_of_most_captions() -> None:
    captions = ["Meet the fox <hyperlink>", "We love the owl <hyperlink>", "the the sea", None]
    fitted = ConstantCaption().fit([post(n, caption=caption) for n, caption in enumerate(captions)])
    assert fitted.predict([post(9), post(10)]) == ["the <hyperlink>"] * 2
    assert ConstantCaption().fit([post(0, caption="a"), post(1, caption="b")]).predict([post(2)]) == [""]


def test_without_dates_the_nearest_caption_has_the_most_similar_keywords() -> None:
    train = [("a", "man, street", "a walk"), ("a", "dog, street", "a dog"), ("b", "cat", "a cat"), ("b", None, "hm")]
    rows = [
        post(n, username, posted_at=None, keywords=keywords, caption=caption)
        for n, (username, keywords, caption) in enumerate(train)
    ]
    fitted = NearestCaption().fit(rows)
    queries = [("a", "dog, park"), ("b", "the cat"), ("stranger", "man, street"), ("a", None)]
    undated = [post(9, username, posted_at=None, keywords=keywords) for username, keywords in queries]
    assert fitted.predict(undated) == ["a dog", "a cat", "a walk", "a walk"]
    assert fitted.predict([rows[0]]) == ["a dog"]  # never its own


@pytest.mark.parametrize("kind", [NearestCaption, ConstantCaption])
def test_training_posts_without_any_caption_are_an_error(kind: type) -> None:
    with pytest.raises(ValueError, match="no training post has a caption"):
        kind().fit([post(0)])
