from datetime import UTC, datetime, timedelta

import pytest

from m3l.data.records import Post
from m3l.evaluation.caption_baselines import ConstantCaption, NearestCaption

START = datetime(2019, 1, 1, tzinfo=UTC)


def post(number: int, username: str = "a", **known: object) -> Post:
    when = START + timedelta(hours=5 * number)
    return Post(**{"post_id": str(number), "username": username, "posted_at": when} | known)


def test_nearest_caption() -> None:
    rows = [post(n, u, caption=f"{u}{n}") for n, u in [(0, "a"), (4, "a"), (6, "b"), (9, "a")]]
    fitted = NearestCaption().fit([*rows, post(5, "a", caption=None)])
    asked = [post(5, "a"), post(4, "a"), post(5, "b"), post(8, "stranger"), post(99, "b")]
    assert fitted.predict(asked) == ["a4", "a0", "a4", "a9", "b6"]


def test_the_constant_caption_is_of_what_most_captions_say() -> None:
    said = ["Meet the fox <hyperlink>", "We love the owl <hyperlink>", "the the sea", None]
    fitted = ConstantCaption().fit([post(n, caption=caption) for n, caption in enumerate(said)])
    assert fitted.predict([post(9), post(10)]) == ["the <hyperlink>"] * 2
    assert ConstantCaption().fit([post(0, caption="a"), post(1, caption="b")]).predict([post(2)]) == [""]


def test_without_dates_the_nearest_caption_is_of_the_most_alike_keywords() -> None:
    known = [("a", "man, street", "a walk"), ("a", "dog, street", "a dog"), ("b", "cat", "a cat"), ("b", None, "hm")]
    rows = [
        post(n, username, posted_at=None, keywords=keywords, caption=caption)
        for n, (username, keywords, caption) in enumerate(known)
    ]
    fitted = NearestCaption().fit(rows)
    asked = [("a", "dog, park"), ("b", "the cat"), ("stranger", "man, street"), ("a", None)]
    undated = [post(9, username, posted_at=None, keywords=keywords) for username, keywords in asked]
    assert fitted.predict(undated) == ["a dog", "a cat", "a walk", "a walk"]
    assert fitted.predict([rows[0]]) == ["a dog"]  # never its own


@pytest.mark.parametrize("kind", [NearestCaption, ConstantCaption])
def test_no_caption_to_learn_from_is_an_error(kind: type) -> None:
    with pytest.raises(ValueError, match="no training post has a caption"):
        kind().fit([post(0)])
