"""The preset `challenge`: likes of posts without media, from the history of the account and metadata."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from m3l.config import ConfigError, load, override
from m3l.data import storage
from pipelines import evaluate, history, ingest, predict, train

START = datetime(2021, 1, 1)
LEVELS = {"small": 2.0, "middle": 4.0, "large": 7.0}


def table(path: Path, posts: int, first: int = 0, later: int = 0) -> Path:
    """Six posts a day of three accounts, each at its own level; `later` is added to the likes of the second half."""
    random = np.random.default_rng(first)
    with path.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["id", "date", "likes", "username", "media", "inferred company"])
        for i in range(first, first + posts):
            name = str(random.choice(list(LEVELS)))
            likes = round(np.expm1(LEVELS[name] + random.normal(0, 0.3))) + (later if i >= first + posts // 2 else 0)
            writer.writerow([i, START + timedelta(hours=4 * i), likes, name, "", "x"])
        writer.writerow([first + posts, START + timedelta(hours=4 * (first + posts)), 5, f"stranger{first}", "", "x"])
    return path


def account_statistics(path: Path) -> Path:
    """A table with an account that has no post in `table`."""
    path.write_text("username,average,median,min,max\nonly_in_table,90,80,10,300\n")
    return path


def read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as source:
        return {row["id"]: row for row in csv.DictReader(source)}


def test_likes_are_predicted_from_an_accounts_history(local_ray: None, tmp_path: Path) -> None:
    config = load(
        "challenge",
        [
            f"paths.run={tmp_path}/run",
            f"ingest.table={table(tmp_path / 'table.csv', 240)}",
            f"history.accounts={account_statistics(tmp_path / 'accounts.csv')}",
            f"history.accounts_until={START}",
            f"ingest.validation_from={START + timedelta(hours=4 * 160)}",
            f"ingest.time_cut={START + timedelta(hours=4 * 180)}",
            "train={workers: 1, epochs: 2, batch_size: 16, lr: 0.001}",
            "ray.predict_workers=1",
        ],
    )
    ingest.main(config)
    with pytest.raises(ConfigError, match="m3l history"):
        train.main(config)
    history.main(config)
    with pytest.raises(ConfigError, match=r"history\.lag_days"):
        train.main(override(config, {"history.lag_days": 1.0}))
    train.main(config)
    metrics = evaluate.main(config)
    assert {"model", "trees_history", "account_recent", "account_median"} <= metrics["likes"]["rmsle"].keys()
    assert metrics["likes"]["rmsle"]["model"] < 0.6 < 1 < np.std(list(LEVELS.values()))
    scores = list(storage.read_rows(f"{tmp_path}/run/report/predictions"))
    assert {row["post_id"] for row in scores if row["cold_account"]} == {"240"}

    answers = {}
    for later in (0, 10**6):
        name = f"later{later}"
        paths = {"predict.table": str(table(tmp_path / f"{name}.csv", 40, 300, later))}
        predict.main(override(config, paths | {"predict.out": f"{tmp_path}/{name}.out.csv"}))
        answers[later] = read(tmp_path / f"{name}.out.csv")
    plain, loud = answers[0], answers[10**6]
    assert list(plain) == [str(i) for i in range(300, 341)]
    assert {i for i, row in plain.items() if row["cold_account"] == "True"} == {"340"}
    assert all(plain[str(i)] == loud[str(i)] for i in range(300, 321))  # the histories of these rows are the same
    assert any(
        plain[str(i)] != loud[str(i)] for i in range(321, 340)
    )  # the histories of later rows include the changed ones

    listed = tmp_path / "listed.csv"
    later = START + timedelta(days=90)
    rows = [["id", "date", "likes", "username", "media", "inferred company"]]
    rows += [[str(i), later, 0, name, "", "x"] for i, name in enumerate(("only_in_table", "in_neither"))]
    with listed.open("w", newline="") as sink:
        csv.writer(sink).writerows(rows)
    predict.main(override(config, {"predict.table": str(listed), "predict.out": f"{tmp_path}/listed.out.csv"}))
    cold = {i: row["cold_account"] for i, row in read(tmp_path / "listed.out.csv").items()}
    assert cold == {"0": "False", "1": "True"}
