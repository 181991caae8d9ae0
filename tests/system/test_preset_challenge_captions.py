"""The preset `challenge-captions`: captions for a table without ids, dates and media, from account, likes, keywords."""

import csv
import random
from pathlib import Path

import pytest

from m3l.config import load, override
from m3l.data import storage
from m3l.tables.posts import TableError
from pipelines import evaluate, ingest, predict, train

CAPTIONS = {"dog": "look at this good dog", "sea": "a day by the sea", "tea": "time for some tea"}


def table(path: Path, posts: int) -> Path:
    """Posts whose caption is about their keyword."""
    rng = random.Random(0)
    with path.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["username", "keywords", "likes", "content"])
        for number in range(posts):
            shown = rng.choice(list(CAPTIONS))
            writer.writerow([f"a{number % 3}", f"['{shown}', 'thing']", number, f"{CAPTIONS[shown]} <hyperlink>"])
    return path


def test_captions_are_predicted_from_keywords(local_ray: None, tmp_path: Path) -> None:
    config = load(
        "challenge-captions",
        [
            f"paths.run={tmp_path}/run",
            f"ingest.table={table(tmp_path / 'table.csv', 120)}",
            "model.tiny={image_size: 16, patch_size: 8, vision_hidden: 16, vision_layers: 1, qformer_hidden: 16,"
            " qformer_layers: 2, query_tokens: 1, text_hidden: 32, text_layers: 1, vocabulary: 400}",
            "train={workers: 1, epochs: 8, batch_size: 8, lr: 0.01}",
            "ray.predict_workers=1",
            "evaluate={splits: [test_random], max_new_tokens: 24, bootstrap: 10}",
        ],
    )
    with pytest.raises(TableError, match="missing column 'id', 'date', 'media'"):
        ingest.main(override(config, {"ingest.lacks": []}))
    assert ingest.main(config).rows_out == 120
    train.main(config)
    metrics = evaluate.main(config)
    captions = metrics["captions"]
    assert metrics["likes"] == {} and captions["perplexity"] > 1
    assert captions["beside"].keys() == {"nearest_post", "constant"}
    assert captions["rouge_l"] > 0.8 > captions["beside"]["constant"]["rouge_l"]
    assert all(row["posted_at"] is None for row in storage.read_rows(config.paths.of("posts")))

    out = tmp_path / "predictions.csv"
    predict.main(override(config, {"predict.table": str(tmp_path / "table.csv"), "predict.out": str(out)}))
    with out.open(newline="") as source:
        predictions = list(csv.DictReader(source))
    assert [row["id"] for row in predictions] == [str(number) for number in range(120)]
    assert all(row["caption"] and not row["likes"] and not row["error"] for row in predictions)
