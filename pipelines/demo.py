"""The whole pipeline on one machine: this file is the picture of the architecture, one line an arrow."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table

from m3l.config import Config, override
from m3l.data import storage
from pipelines import corpus, evaluate, frames, history, ingest, retrieve, serve, train, train_retriever, tune
from pipelines.runtime.console import StageTimer, console
from pipelines.runtime.ray_output import ray_output
from pipelines.runtime.session import connect


def main(config: Config) -> None:
    """Corpus, ingest, frames, retriever, retrieval, training, sweep, report, one live request: all through Ray."""
    started, corpus_folder = time.monotonic(), config.paths.of("corpus")
    config = override(
        config,
        {"paths.media_root": str(Path(corpus_folder).absolute()), "ingest.table": f"{corpus_folder}/table"},
    )
    with ray_output(config.paths.run) as log:
        metrics, answer = _run(config)
        _show(config, metrics, answer, log, time.monotonic() - started)


def _run(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """The verbs in their order; returns the metrics of the report and the answer to the live request."""
    timer = StageTimer()
    with timer("ray"):
        connect(config.ray)
    with timer("corpus"):
        corpus.main(config)
    with timer("ingest"):
        ingest.main(config)
    with timer("history"):
        history.main(config)
    with timer("frames"):
        frames.main(config)
    with timer("train_retriever"):
        train_retriever.main(config)
    with timer("retrieve"):
        retrieve.main(config)
    with timer("train"):
        train.main(config)
    with timer("tune"):
        tune.main(config)
    metrics = evaluate.main(config, {name: round(value, 1) for name, value in timer.seconds.items()})
    with timer("serve"):
        answer = _ask(config)
    return metrics, answer


def _ask(config: Config) -> dict[str, Any]:
    """One live request to the served bundle: a held-out video goes up, likes and a caption come back."""
    folder = Path(config.paths.of("corpus"))
    rows = storage.read_rows(config.paths.of("posts"))
    post = next(r for r in rows if r["split"] == "test_random" and r["media"] and r["media"][0]["kind"] == "video"
                and (folder / r["media"][0]["url"]).is_file())  # fmt: skip
    path = folder / post["media"][0]["url"]
    key = os.environ.get(config.serve.api_key_env)
    with serve.deployed(override(config, {"serve.port": _free_port()})) as url:
        reply = httpx.post(
            f"{url}/v1/simulate/upload",
            data={
                "username": post["username"],
                "posted_at": post["posted_at"].isoformat(),
                "caption": post["caption"],
            },
            files={"files": (path.name, path.read_bytes(), "video/mp4")},
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=config.serve.request_timeout_s,
        )
    reply.raise_for_status()
    answer = reply.json()
    storage.write_json(
        f"{config.paths.of('report')}/live_answer.json",
        {"asked": {**post, "posted_at": str(post["posted_at"])}, **answer},
    )
    return {"asked": post, **answer}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _show(config: Config, metrics: dict[str, Any], answer: dict[str, Any], log: str, seconds: float) -> None:
    r2, captions = metrics["likes"]["r2_log1p"], metrics["captions"]
    recall = metrics["retrieval"]["recall_at_10"]
    table = Table(title="On held-out posts", title_justify="left", show_header=False)
    rows = {
        "likes, R2 on log1p": f"{_n(r2['model'])}   trees without the media {_n(r2['trees_metadata'])}, "
        f"noise floor {_n(r2.get('noise_floor'))}, this model without the media {_n(r2['model_without_media'])}",
        "captions name what is shown": f"{_n(captions['subject_named']['model'])}   with another post's media "
        f"{_n(captions['subject_named']['shuffled_media'])}",
        "captions state the order": _n(captions["order_right"]),
        "recall@10 of relevant frames": f"{_n(recall['model'])}   uniform {_n(recall['uniform'])}",
        "live request": f"likes {answer['likes']:,.0f}{_range(answer)}, "
        f"truth {answer['asked']['likes']:,}; caption {json.dumps(answer['caption'], ensure_ascii=False)}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for name, path in (
        ("report", f"{config.paths.of('report')}/index.html"),
        ("metrics", f"{config.paths.of('report')}/metrics.json"),
        ("bundle", config.paths.of("bundle")),
        ("answer", f"{config.paths.of('report')}/live_answer.json"),
        ("ray log", log),
    ):
        console.print(f"{name:>8}: {path}", highlight=False)
    console.print(f"{seconds / 60:.1f} minutes. Serve it: m3l serve {config.paths.of('bundle')}", highlight=False)


def _range(answer: dict[str, Any]) -> str:
    """Nothing where the bundle was calibrated on too few posts."""
    low, high = answer["likes_low"], answer["likes_high"]
    return "" if low is None else f" ({low:,.0f} to {high:,.0f})"


def _n(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
