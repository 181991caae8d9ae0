"""context/ -> bundle/: Algorithm 1 on Ray Train workers."""

import os
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import torch
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from m3l import bundle, storage
from m3l.batch import Collator, LikesScale
from m3l.config import Config, ConfigError
from m3l.model.build import build_model, build_processor
from m3l.prompts import render
from m3l.records import Post
from m3l.training import Learner, word_weights
from pipelines.examples import load_examples, passes, post_ids, rows, stream
from pipelines.session import connect
from pipelines.stage import claim, console
from pipelines.watch import run_folder, watched

SAMPLED_TEXTS = 20_000  # posts that the tiny tokenizers and the word frequencies are learned from
VALIDATION_POSTS = 256  # held by rank 0: bounded, whatever the corpus
EVALUATIONS = 4


@dataclass
class Facts:
    """What every rank must know alike before it starts, from the training rows alone."""

    processor: Any
    scale: LikesScale
    words: torch.Tensor
    accounts: list[str]
    rows: int
    validation: list[str]


def main(config: Config) -> dict[str, Any]:
    """Train on the posts of the split `train` that have both caption and likes; write the bundle."""
    folder = config.paths.of("bundle")
    if storage.read_json(f"{folder}/metrics.json") is not None:
        claim(folder, settings(config))
        console.print(f"[bold]train[/]: done before -> {folder}")
        return dict(storage.read_json(f"{folder}/metrics.json"))
    claim(folder, settings(config))
    connect(config.ray)
    metrics = fit(config, folder)
    console.print(f"[bold]train[/]: {_line(metrics)} -> {folder}")
    return metrics


def settings(config: Config) -> dict[str, Any]:
    """What a bundle is made of."""
    made = config.model_dump(mode="json")
    return {name: made[name] for name in ("seed", "tasks", "model", "train", "retriever")}


def fit(config: Config, folder: str, most_posts: int | None = None, title: str = "train") -> dict[str, Any]:
    """One training run into a bundle folder; returns its validation losses and writes the curve beside it."""
    posts, context = config.paths.of("posts"), config.paths.of("context")
    fields = tuple(dict.fromkeys(task.masked for task in config.tasks))
    ids = post_ids(posts, "train", fields)[:most_posts]
    if not ids:
        raise ConfigError(f"{posts} has no post of the split 'train' with {' and '.join(fields)}: run ingest first")
    held_out = post_ids(posts, "validation", fields)[:VALIDATION_POSTS]
    facts = _facts(config, ids, held_out)
    workers = config.train.workers
    per_epoch = len(ids) // (workers * config.train.batch_size)
    if per_epoch == 0:
        raise ConfigError(
            f"train.batch_size: {workers} workers x {config.train.batch_size} rows are more than the {len(ids)} posts"
        )
    epochs = config.train.warmup_epochs + config.train.epochs
    warmup, steps = per_epoch * config.train.warmup_epochs, per_epoch * epochs
    cached = storage.size(context) <= config.train.cache_bytes * workers
    data = stream(posts, context, ids, config.seed, 1 if cached else epochs, config.ray.block_rows)

    def run(log: Any) -> None:
        gpus = config.ray.model_gpus
        trainer = TorchTrainer(
            work,
            train_loop_config={
                "config": config.to_yaml(),
                "facts": facts,
                "warmup": warmup,
                "steps": steps,
                "cached": cached,
                "folder": folder,
                "log": log,
            },
            datasets={"train": data},
            dataset_config=DataConfig(datasets_to_split=["train"]),
            torch_config=TorchConfig("nccl" if gpus else "gloo", timeout_s=300),
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": config.ray.model_cpus, **({"GPU": gpus} if gpus else {})},
            ),
            run_config=RunConfig(
                name=f"run-{os.urandom(6).hex()}",  # a known name would resume another run
                storage_path=run_folder(config.paths.run),
                failure_config=FailureConfig(max_failures=1),
            ),
        )
        trainer.fit()

    metrics, curve = watched(title, steps, run)
    result = {"train_posts": len(ids), "steps": steps, **metrics}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", result)  # last: its presence says that the bundle is whole
    return result


def work(task: dict[str, Any]) -> None:
    """One rank of Ray Train: every step, an evaluation now and then, the bundle at the end."""
    from m3l.config import parse

    config, facts, steps = parse(task["config"]), task["facts"], task["steps"]
    rank = ray.train.get_context().get_world_rank()
    torch.set_num_threads(max(1, int(config.ray.model_cpus)))
    collator = Collator(facts.processor, config.model, facts.scale)
    learner = Learner(
        build_model(config.model, facts.processor, config.seed),
        collator,
        config.tasks,
        config.train,
        warmup_steps=task["warmup"],
        steps=steps,
        seed=config.seed,
        rank=rank,
        word_weights=facts.words,
        device=get_device(),
    )
    posts, context = config.paths.of("posts"), config.paths.of("context")
    held_out = list(rows(load_examples(posts, context, facts.validation), config.tasks)) if rank == 0 else []
    shard = ray.train.get_dataset_shard("train")
    batches = passes(shard, config.tasks, config.train.batch_size, (config.seed, rank) if task["cached"] else None)
    every = max(1, (steps - task["warmup"]) // EVALUATIONS)
    for batch in islice(batches, steps):
        losses = learner.step(batch)
        if rank == 0:
            task["log"].add.remote(learner.done, losses)
        if rank == 0 and held_out and learner.done > task["warmup"] and learner.done % every == 0:
            told = learner.evaluate(held_out)
            task["log"].add.remote(learner.done, {f"validation_{name}": value for name, value in told.items()})
    final = learner.evaluate(held_out) if held_out else {}
    final = {f"validation_{name}": value for name, value in final.items()}
    if rank == 0:
        _save(task["folder"], config, learner, facts, final)
        ray.get(task["log"].finish.remote(final))


def _save(folder: str, config: Config, learner: Learner, facts: Facts, final: dict[str, float]) -> None:
    # The validation error of the standardised log1p likes, in log1p: how wide an honest interval is.
    residual = facts.scale.std * float(np.sqrt(final.get("validation_mse", 1.0)))
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        told = {"residual_std": residual, "accounts": facts.accounts}
        bundle.save(made, config, learner.model, facts.processor, facts.scale, told)
        storage.upload(made, folder)
        retriever = config.paths.of("retriever")
        for part in ("model.safetensors", "retriever.json"):
            storage.copy(f"{retriever}/{part}", f"{folder}/retriever/{part}")


def _facts(config: Config, ids: list[str], held_out: list[str]) -> Facts:
    posts, training = config.paths.of("posts"), set(ids)
    sampled: list[Post] = []
    accounts: set[str] = set()
    count, total, squares = 0, 0.0, 0.0
    for row in storage.read_rows(posts, batch_rows=4096):
        if row["post_id"] not in training:
            continue
        accounts.add(row["username"])
        value = float(np.log1p(row["likes"] or 0))
        count, total, squares = count + 1, total + value, squares + value**2
        if len(sampled) < SAMPLED_TEXTS:
            sampled.append(Post.model_validate(row))
    mean = total / count
    scale = LikesScale(mean, max(1e-3, (squares / count - mean**2) ** 0.5))
    texts = [render(task, post) for post in sampled for task in config.tasks]
    processor = build_processor(config.model, texts + [post.caption or "" for post in sampled])
    tokenizer = processor.tokenizer
    answers = (tokenizer(" " + (p.caption or ""), add_special_tokens=False)["input_ids"] for p in sampled)
    weights = word_weights(answers, len(tokenizer))
    return Facts(processor, scale, weights, sorted(accounts), len(ids), held_out)


def _line(metrics: dict[str, Any]) -> str:
    told = [f"{name} {value:.3f}" for name, value in metrics.items() if isinstance(value, float)]
    return f"{metrics['train_posts']:,} posts, {metrics['steps']:,} steps, " + ", ".join(told)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
