"""Batch prediction with the bundle of the walk."""

import csv
import json
from pathlib import Path

import pytest

from m3l.config import override
from m3l.data import storage
from pipelines import predict
from tests.support.walk import Walk


def test_prediction_keeps_every_row_with_its_id_in_its_order(walk: Walk, tmp_path: Path) -> None:
    table, out = tmp_path / "posts.csv", tmp_path / "predicted.csv"
    posts = list(storage.read_rows(walk.config.paths.of("corpus") + "/table"))[:6]
    posts[2]["date"] = "never"
    with table.open("w", newline="") as sink:
        writer = csv.DictWriter(sink, list(posts[0]))
        writer.writeheader()
        writer.writerows(posts)
    predict.main(override(walk.config, {"predict.table": str(table), "predict.out": str(out)}))
    with out.open(newline="") as source:
        predicted = list(csv.DictReader(source))
    assert [row["id"] for row in predicted] == [str(post["id"]) for post in posts]
    assert predicted[2]["error"].startswith("rejected: bad date") and not predicted[2]["likes"]
    assert all(float(row["likes"]) >= 0 for i, row in enumerate(predicted) if i != 2)


def test_predict_and_evaluate_give_the_same_answers(walk: Walk, tmp_path: Path) -> None:
    """Both use the same Simulator and so cannot drift apart."""
    scored = {r["post_id"]: r for r in storage.read_rows(f"{walk.config.paths.of('report')}/predictions")}
    rows = [r for r in storage.read_rows(walk.config.paths.of("corpus") + "/table") if str(r["id"]) in scored][:4]
    table, out = tmp_path / "posts.jsonl", tmp_path / "predicted.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict.main(override(walk.config, {"predict.table": str(table), "predict.out": str(out)}))
    for line in out.read_text().splitlines():
        predicted = json.loads(line)
        assert predicted["likes"] == pytest.approx(scored[predicted["id"]]["likes.model"], rel=1e-3)
        assert predicted["caption"] == scored[predicted["id"]]["told_caption"]
