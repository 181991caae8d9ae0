from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from m3l.data.records import Media, Post
from m3l.evaluation import likes_baselines
from m3l.evaluation.likes_metrics import r2_log1p

START = datetime(2019, 1, 1, tzinfo=UTC)


def post(number: int, username: str = "a", likes: int | None = 1, **fields: object) -> Post:
    when = START + timedelta(hours=5 * number)
    return Post(**{"post_id": str(number), "username": username, "likes": likes, "posted_at": when} | fields)


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    """Likes that depend on the account, the hour and one word of the caption, with a little noise."""
    rng, posts = np.random.default_rng(0), []
    for number in range(700):
        account, sale = int(rng.integers(6)), bool(rng.random() < 0.5)
        hour = (START + timedelta(hours=5 * number)).hour
        log = 3 + 0.6 * account + 0.5 * np.cos((hour - 19) / 24 * 2 * np.pi) + 0.6 * sale + rng.normal(0, 0.2)
        caption = f"Our {'SALE' if sale else 'news'} is here! #brand{account} 🎉\n<mention>"
        media = [Media(kind="video", url=f"{number}.mp4", duration_s=4.5)]
        likes = round(np.expm1(log))
        posts.append(post(number, f"brand{account}", likes, company="x", caption=caption, media=media))
    return posts


@pytest.fixture(scope="module")
def trees(posts: list[Post]) -> likes_baselines.MetadataTrees:
    return likes_baselines.MetadataTrees().fit(posts[:500])


def test_account_median_and_mean_fall_back_to_all_posts() -> None:
    rows = [post(0, "a", 1), post(1, "a", 3), post(2, "a", 100), post(3, "b", 7), post(4, "b", None)]
    fitted = likes_baselines.AccountMedian().fit(rows)
    assert fitted.predict([post(9, "a"), post(9, "b"), post(9, "stranger")]).tolist() == [3, 7, 5]
    mean = likes_baselines.AccountMean().fit(rows)
    assert mean.predict([post(9, "a"), post(9, "b"), post(9, "stranger")]).tolist() == [104 / 3, 7, 27.75]
    assert likes_baselines.Mean().fit(rows).predict(rows[:2]).tolist() == [27.75, 27.75]


def test_trees_beat_mean_and_account_median(posts: list[Post], trees: likes_baselines.MetadataTrees) -> None:
    test = posts[500:]
    actual = np.array([p.likes for p in test], dtype=float)
    scores = [
        r2_log1p(actual, fitted.predict(test)) or 0
        for fitted in (likes_baselines.Mean().fit(posts[:500]), likes_baselines.AccountMedian().fit(posts[:500]), trees)
    ]
    assert scores == sorted(scores)
    assert scores[2] > 0.9 > scores[1] + 0.05


def test_the_likes_of_a_post_do_not_affect_its_prediction(
    posts: list[Post], trees: likes_baselines.MetadataTrees
) -> None:
    test = posts[490:520]  # some are training posts: for them, too, only earlier posts count
    blind = [p.model_copy(update={"likes": None}) for p in test]
    loud = [p.model_copy(update={"likes": 10**6}) for p in test]
    assert (trees.predict(blind) == trees.predict(loud)).all()
    assert "likes" not in likes_baselines.features(test)


def test_running_statistics_are_of_strictly_earlier_posts() -> None:
    rows = [post(2, "a", 7), post(0, "a", 1), post(1, "b", 3), post(0, "c", 9), post(0, "a", 1)]
    frame = likes_baselines.features(rows)
    past = likes_baselines._statistics_before(
        frame, likes_baselines._running_statistics(frame, np.array([7.0, 1, 3, 9, 1]))
    )
    assert past["past_posts"].fillna(0).tolist() == [2, 0, 0, 0, 0]
    assert past["past_mean"].tolist()[0] == 1
    assert past["past_day"].tolist()[0] == pytest.approx(10 / 24)


def test_trees_are_reproducible(posts: list[Post], trees: likes_baselines.MetadataTrees) -> None:
    again = likes_baselines.MetadataTrees().fit(posts[:500])
    assert (again.predict(posts[500:]) == trees.predict(posts[500:])).all()


def test_trees_predict_for_posts_with_little_metadata(trees: likes_baselines.MetadataTrees) -> None:
    predicted = trees.predict([post(900, "stranger"), post(901, "brand1", caption="")])
    assert np.isfinite(predicted).all() and (predicted >= 0).all()
    assert trees.predict([]).shape == (0,)
    few = likes_baselines.MetadataTrees().fit([post(n, "a", 10 * n) for n in range(3)])
    assert np.isfinite(few.predict([post(5)])).all()


def test_a_post_without_a_date_has_no_earlier_posts_and_is_not_one() -> None:
    undated = [post(n, "a", n, posted_at=None) for n in range(2, 5)]
    for rows, posts_before in ((undated, [0, 0, 0]), ([post(0), post(1), *undated], [0, 1, 0, 0, 0])):
        frame = likes_baselines.features(rows)
        past = likes_baselines._statistics_before(
            frame, likes_baselines._running_statistics(frame, np.arange(len(rows), dtype=float))
        )
        assert past["past_posts"].fillna(0).tolist() == posts_before
        assert np.isfinite(likes_baselines.MetadataTrees().fit(rows).predict(rows)).all()


def test_features_count_the_parts_of_the_caption(posts: list[Post]) -> None:
    row = likes_baselines.features([posts[0]]).iloc[0]
    columns = "hashtags", "mentions", "emoji", "questions", "exclamations", "newlines", "videos", "duration_s"
    assert [row[name] for name in columns] == [1, 1, 1, 0, 1, 1, 1, 4.5]
    assert likes_baselines.features([post(0)]).iloc[0].isna()["words"]


@pytest.mark.parametrize("kind", [likes_baselines.Mean, likes_baselines.AccountMean, likes_baselines.MetadataTrees])
def test_training_posts_without_any_likes_are_an_error(kind: type) -> None:
    with pytest.raises(ValueError, match="no training post has likes"):
        kind().fit([post(0, likes=None)])
