"""The report of the walk: the figures that are promised, and an evaluation that resumes."""

import pytest

from m3l.data import storage
from pipelines import evaluate
from tests.support.walk import Walk


def test_the_report_holds_the_figures_that_are_promised(walk: Walk) -> None:
    metrics = storage.read_json(f"{walk.config.paths.of('report')}/metrics.json")
    models = {"model", "model_without_media", "trees_metadata", "account_median", "account_mean", "mean", "noise_floor"}
    assert metrics["splits"].keys() == set(walk.config.evaluate.splits)
    assert metrics["likes"] == metrics["splits"]["test_random"]["likes"]
    for split in (metrics, *metrics["splits"].values()):
        for metric in ("r2_log1p", "rmse", "rmsle", "mae", "spearman"):
            assert models == split["likes"][metric].keys() == split["intervals"]["likes"][metric].keys()
        captions = {"subject_named", "order_right", "bleu1", "bleu4", "rouge_l", "cider", "perplexity"}
        assert captions <= split["captions"].keys()
        assert split["captions"]["beside"].keys() == {"shuffled_media", "nearest_post", "constant"}
        assert {"bleu4", "rouge_l", "cider"} <= split["captions"]["beside"]["nearest_post"].keys()
    assert {"recall_at_10", "mrr"} <= metrics["retrieval"].keys()
    for metric in ("recall_at_10", "reciprocal_rank", "near_duplicates", "shows_both"):
        assert metrics["retrieval"][metric].keys() == {"model", "plain_top", "uniform"}
    assert {"seed", "posts", "train_posts", "seconds", "versions"} <= metrics["run"].keys()
    assert "<html" in storage.read_text(f"{walk.config.paths.of('report')}/index.html")


def test_an_evaluation_resumes_and_ends_with_the_same_figures(walk: Walk) -> None:
    folder = walk.config.paths.of("report")
    before, scored = storage.read_json(f"{folder}/metrics.json"), storage.parts(f"{folder}/predictions")
    ids = sorted(storage.read_column(f"{folder}/predictions", "post_id"))
    storage.remove(scored[0])
    again = evaluate.main(walk.config)
    assert sorted(storage.read_column(f"{folder}/predictions", "post_id")) == ids
    assert again["likes"]["rmsle"] == pytest.approx(before["likes"]["rmsle"], rel=1e-3)


def test_the_bundles_intervals_are_measured(walk: Walk) -> None:
    metrics = storage.read_json(f"{walk.config.paths.of('report')}/metrics.json")
    bundle = storage.read_json(f"{walk.config.paths.of('bundle')}/bundle.json")
    posts = list(storage.read_rows(walk.config.paths.of("posts"), ["split", "likes", "username"]))
    validation = [post for post in posts if post["split"] == "validation"]
    assert metrics["coverage"]["calibrated_on"]["cold_rows"] == bundle["intervals"]["cold_rows"] == "hidden"
    assert bundle["intervals"]["cold"]["rows"] == len({post["username"] for post in validation})
    assert {"overall", "known_accounts", "cold_accounts"} <= metrics["coverage"].keys()
    if "50" in metrics["coverage"]["overall"]:  # else there were too few validation posts
        assert 0 <= metrics["coverage"]["overall"]["50"]["measured"] <= 1


def test_a_sample_of_the_posts_is_explained(walk: Walk) -> None:
    rows = list(storage.read_rows(f"{walk.config.paths.of('report')}/predictions", ["why", "seen"]))
    explained = [row for row in rows if row["why"] is not None]
    assert len(explained) == 6
    for row in explained:
        parts = {effect["part"] for effect in row["why"]}
        assert {"username", "caption", "posted_at"} <= parts and ("media" in parts) == row["seen"]
        assert all(effect["true"] is not None for effect in row["why"])
    metrics = storage.read_json(f"{walk.config.paths.of('report')}/metrics.json")["why"]
    assert metrics["posts"] == 6 and metrics["sign_agreement"].keys() == metrics["counted"].keys()
