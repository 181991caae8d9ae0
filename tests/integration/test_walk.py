"""The data's way on a real local Ray: a few posts through every verb, then what must hold of what they leave."""

import csv
import json

import pytest

from m3l.config import ConfigError, load, override
from m3l.data import storage
from pipelines import (
    compare_retrievers,
    corpus,
    evaluate,
    frames,
    ingest,
    predict,
    retrieve,
    train,
    train_retriever,
    tune,
)

POSTS = 72
QUICK = [
    f"corpus.posts={POSTS}",
    "corpus.broken_share=0.15",
    "media.key_frames=14",
    "retriever.teacher_epochs=1",
    "retriever.epochs=1",
    "train.epochs=1",
    "train.warmup_epochs=1",
    "train.batch_size=8",
    "compare.seeds=1",
    "compare.weights=[[0.1, 0.9], [1, 0]]",
    "tune.posts=16",
    "tune.trials=2",
    "tune.search=optuna",
    "evaluate.bootstrap=20",
    "evaluate.max_new_tokens=8",
    "evaluate.why=6",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory, local_ray):
    run = tmp_path_factory.mktemp("run")
    return load(
        "tiny", [*QUICK, f"paths.run={run}", f"paths.media_root={run}/corpus", f"ingest.table={run}/corpus/table"]
    )


@pytest.fixture(scope="module")
def walked(config):
    """The configuration, once every verb up to the report has run."""
    for verb in (corpus, ingest, frames, train_retriever, compare_retrievers, retrieve, train, tune, evaluate):
        verb.main(config)
    return config


def test_every_row_of_the_table_becomes_a_post(walked):
    assert sorted(storage.read_column(walked.paths.of("posts"), "post_id"), key=int) == [
        str(i + 1) for i in range(POSTS)
    ]


def test_every_media_file_has_one_row_and_dead_ones_say_why(walked):
    rows = list(storage.read_rows(walked.paths.of("keyframes"), ["media_id", "error"]))
    assert len({row["media_id"] for row in rows}) == len(rows)
    truths = storage.read_rows(f"{walked.paths.of('corpus')}/truth", ["media", "readable"])
    readable = {m["media_id"]: truth["readable"] for truth in truths for m in truth["media"]}
    assert {row["media_id"]: row["error"] is None for row in rows} == readable


def test_every_post_has_one_context_per_task(walked):
    rows = [(r["post_id"], r["task"]) for r in storage.read_rows(walked.paths.of("context"), ["post_id", "task"])]
    assert len(set(rows)) == len(rows) == POSTS * len(walked.tasks)


def test_contexts_stand_in_time_order_and_hold_at_most_ten_frames_of_a_video(walked):
    for row in storage.read_rows(walked.paths.of("context")):
        times = [(frame["media_id"], frame["time_s"]) for frame in row["frames"]]
        assert len(times) <= walked.retriever.top_k
        for media in {m for m, _ in times}:
            assert [t for m, t in times if m == media] == sorted(t for m, t in times if m == media)


def test_a_verb_that_is_run_again_does_nothing(walked):
    assert frames.main(walked).rows_out == 0
    assert retrieve.main(walked).rows_out == 0


def test_a_folder_made_with_other_settings_is_not_mixed_up(walked):
    with pytest.raises(ConfigError, match="other settings"):
        frames.main(override(walked, {"media.stride_s": 1.0}))


def test_the_bundle_holds_no_pickle_and_its_own_configuration(walked):
    metrics = storage.read_json(f"{walked.paths.of('bundle')}/metrics.json")
    assert metrics["train_posts"] > 0 and metrics["validation_mse"] > 0
    assert storage.read_text(f"{walked.paths.of('bundle')}/config.yaml") == walked.to_yaml()


def test_the_sweep_leaves_a_table_events_and_a_preset(walked):
    folder = walked.paths.of("tune")
    trials = storage.read_json(f"{folder}/trials.json")
    assert len(trials) == 2 and trials[0]["objective"] <= trials[1]["objective"]
    assert load(f"{folder}/best.yaml").train.cut == trials[0]["params"]["train.cut"]
    from pathlib import Path

    assert list(Path(folder).rglob("events.out.tfevents.*"))


def test_retrievers_are_compared_on_held_out_posts(walked):
    told = storage.read_json(f"{walked.paths.of('comparison')}/metrics.json")
    students = {"bce0.1-dfr0.9", "bce1-dfr0"}
    assert told["recall_at_10"].keys() == students | {"untrained", "teacher", "teacher_caption", "uniform"}
    assert all(0 < found["mean"] <= 1 for found in told["recall_at_10"].values())
    assert "0.1 BCE + 0.9 DFR" in storage.read_text(f"{walked.paths.of('report')}/index.html")
    parts = storage.parts(f"{walked.paths.of('comparison')}/found")
    again = compare_retrievers.main(walked)
    assert again["recall_at_10"] == told["recall_at_10"]
    assert storage.parts(f"{walked.paths.of('comparison')}/found") == parts


def test_the_report_tells_the_figures_that_are_promised(walked):
    metrics = storage.read_json(f"{walked.paths.of('report')}/metrics.json")
    told = {"model", "model_without_media", "trees_metadata", "account_median", "account_mean", "mean", "noise_floor"}
    assert metrics["splits"].keys() == set(walked.evaluate.splits)
    assert metrics["likes"] == metrics["splits"]["test_random"]["likes"]
    for split in (metrics, *metrics["splits"].values()):
        for metric in ("r2_log1p", "rmse", "rmsle", "mae", "spearman"):
            assert told == split["likes"][metric].keys() == split["intervals"]["likes"][metric].keys()
        captions = {"subject_named", "order_right", "bleu1", "bleu4", "rouge_l", "cider", "perplexity"}
        assert captions <= split["captions"].keys()
        assert split["captions"]["beside"].keys() == {"shuffled_media", "nearest_post", "constant"}
        assert {"bleu4", "rouge_l", "cider"} <= split["captions"]["beside"]["nearest_post"].keys()
    assert {"recall_at_10", "mrr"} <= metrics["retrieval"].keys()
    for metric in ("recall_at_10", "reciprocal_rank", "near_duplicates", "shows_both"):
        assert metrics["retrieval"][metric].keys() == {"model", "plain_top", "uniform"}
    assert {"seed", "posts", "train_posts", "seconds", "versions"} <= metrics["run"].keys()
    assert "<html" in storage.read_text(f"{walked.paths.of('report')}/index.html")


def test_the_evaluation_goes_on_where_it_stopped_and_tells_the_same(walked):
    folder = walked.paths.of("report")
    before, measured = storage.read_json(f"{folder}/metrics.json"), storage.parts(f"{folder}/predictions")
    ids = sorted(storage.read_column(f"{folder}/predictions", "post_id"))
    storage.remove(measured[0])
    again = evaluate.main(walked)
    assert sorted(storage.read_column(f"{folder}/predictions", "post_id")) == ids
    assert again["likes"]["rmsle"] == pytest.approx(before["likes"]["rmsle"], rel=1e-3)


def test_the_bundles_intervals_are_measured(walked):
    metrics = storage.read_json(f"{walked.paths.of('report')}/metrics.json")
    bundle = storage.read_json(f"{walked.paths.of('bundle')}/bundle.json")
    posts = list(storage.read_rows(walked.paths.of("posts"), ["split", "likes", "username"]))
    validation = [post for post in posts if post["split"] == "validation"]
    assert metrics["coverage"]["calibrated_on"]["cold_rows"] == bundle["intervals"]["cold_rows"] == "hidden"
    assert bundle["intervals"]["cold"]["rows"] == len({post["username"] for post in validation})
    assert {"overall", "known_accounts", "cold_accounts"} <= metrics["coverage"].keys()
    if "50" in metrics["coverage"]["overall"]:  # else there were too few validation posts
        assert 0 <= metrics["coverage"]["overall"]["50"]["measured"] <= 1


def test_a_sample_of_the_posts_is_asked_why(walked):
    rows = list(storage.read_rows(f"{walked.paths.of('report')}/predictions", ["why", "seen"]))
    asked = [row for row in rows if row["why"] is not None]
    assert len(asked) == 6
    for row in asked:
        found = {effect["part"] for effect in row["why"]}
        assert {"username", "caption", "posted_at"} <= found and ("media" in found) == row["seen"]
        assert all(effect["true"] is not None for effect in row["why"])
    metrics = storage.read_json(f"{walked.paths.of('report')}/metrics.json")["why"]
    assert metrics["posts"] == 6 and metrics["sign_agreement"].keys() == metrics["counted"].keys()


def test_prediction_keeps_every_row_its_id_and_its_place(walked, tmp_path):
    table, out = tmp_path / "posts.csv", tmp_path / "told.csv"
    posts = list(storage.read_rows(walked.paths.of("corpus") + "/table"))[:6]
    posts[2]["date"] = "never"
    with table.open("w", newline="") as sink:
        writer = csv.DictWriter(sink, list(posts[0]))
        writer.writeheader()
        writer.writerows(posts)
    predict.main(override(walked, {"predict.table": str(table), "predict.out": str(out)}))
    with out.open(newline="") as source:
        told = list(csv.DictReader(source))
    assert [row["id"] for row in told] == [str(post["id"]) for post in posts]
    assert told[2]["error"].startswith("rejected: bad date") and not told[2]["likes"]
    assert all(float(row["likes"]) >= 0 for i, row in enumerate(told) if i != 2)


def test_prediction_equals_what_the_evaluation_told(walked, tmp_path):
    """Offline and online answers come from the same Simulator and so cannot drift apart."""
    measured = {r["post_id"]: r for r in storage.read_rows(f"{walked.paths.of('report')}/predictions")}
    rows = [r for r in storage.read_rows(walked.paths.of("corpus") + "/table") if str(r["id"]) in measured][:4]
    table, out = tmp_path / "posts.jsonl", tmp_path / "told.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict.main(override(walked, {"predict.table": str(table), "predict.out": str(out)}))
    for line in out.read_text().splitlines():
        told = json.loads(line)
        assert told["likes"] == pytest.approx(measured[told["id"]]["likes.model"], rel=1e-3)
        assert told["caption"] == measured[told["id"]]["told_caption"]
