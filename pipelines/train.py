"""context/ -> bundle/: Algorithm 1 on Ray Train workers."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from torch import Tensor

from m3l.config import Config, ConfigError, parse
from m3l.cost.estimate import cache_line, plan
from m3l.data import storage
from m3l.data.examples import history_of, load_examples, masked_fields, post_ids, recalled, rows
from m3l.data.records import ACCOUNTS, COMPANY, Example, Post
from m3l.data.storage import claim
from m3l.distributed import parallelize
from m3l.inference.conformal import Intervals
from m3l.model.build import build_model, build_processor
from m3l.prompts.collator import Collator, LikesScale
from m3l.prompts.render import render
from m3l.training.fit import train
from m3l.training.loss import word_weights
from m3l.training.loss_curve import Curve
from m3l.training.sampler import Order
from m3l.training.trainer import Learner
from pipelines.learning.feed import InOrder, feed, needed
from pipelines.runtime.console import console
from pipelines.runtime.session import connect
from pipelines.runtime.train_run import Judge, release, run_folder, verdict, watched

SAMPLED_TEXTS = 20_000  # posts that the tiny tokenizers and the word frequencies are learned from
SAMPLED_HISTORIES = 1_000  # how a history is told, for the tokenizers
VALIDATION_POSTS = 256  # held by every rank: bounded, whatever the corpus
SHOWN_S = 0.5  # between two words of rank 0 on its steps
RESTARTS = 2  # of the workers by Ray Train, and of Ray Train's controller by this program


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


def fit(
    config: Config, folder: str, most_posts: int | None = None, title: str = "train", judge: Judge | None = None
) -> dict[str, Any]:
    """One training run into a bundle folder; returns its validation losses and writes the curve beside it.

    A run with a `judge` is a trial: it ends when `judge(step, losses)` says False of an evaluation; it keeps no bundle.
    """
    posts, context = config.paths.of("posts"), config.paths.of("context")
    past = history_of(config)
    fields = masked_fields(config)
    ids = post_ids(posts, "train", fields)[:most_posts]
    if not ids:
        raise ConfigError(f"{posts} has no post of the split 'train' with {' and '.join(fields)}: run ingest first")
    held_out = post_ids(posts, "validation", fields)[:VALIDATION_POSTS]
    if config.train.patience and not held_out:
        raise ConfigError(f"train.patience: {posts} has no post of the split 'validation' to stop by")
    facts = facts_of(config, ids, held_out)
    workers = config.train.workers
    order = Order(len(ids), config.seed, config.train.batch_size, workers * config.train.accumulate)
    if order.batch > len(ids):
        raise ConfigError(f"train.batch_size: a step of {order.batch} rows is more than the {len(ids)} posts")
    warmup = order.steps(config.train.warmup_epochs)
    steps = order.steps(config.train.warmup_epochs + config.train.epochs)
    kept = storage.size(context) <= config.train.cache_bytes
    if config.train.cache_vision:
        frames = len(ids) * len(config.tasks) * config.retriever.top_k // workers  # at most: tasks may share frames
        console.print(f"each worker's {cache_line(plan(config), frames, config.train.cache_vision)}", highlight=False)

    state = f"{run_folder(config.paths.run)}/{_name(config, folder, ids)}"
    checkpoints = f"{state}/checkpoints"
    task = {"config": config.to_yaml(), "facts": facts, "order": order, "warmup": warmup, "steps": steps, "kept": kept,
            "folder": folder, "checkpoints": checkpoints, "judged": judge is not None}  # fmt: skip
    feeds = InOrder(posts, context, ids, order, steps, checkpoints, kept, config.ray.block_rows, past)

    say_if_it_waits(config, kept)

    def run(log: Any) -> None:
        for left in reversed(range(RESTARTS + 1)):
            try:
                _trainer(config, task | {"log": log}, feeds, state).fit()
                return
            except ray.exceptions.RayActorError:  # the controller's, which runs beside this program: it is dead
                release(log)
                if not left:
                    raise

    metrics, curve = watched(title, steps, run, judge)
    result = {"train_posts": len(ids), **metrics}
    storage.write_json(f"{folder}/curve.json", curve)
    storage.write_json(f"{folder}/metrics.json", result)  # last: its presence says that the bundle is whole
    storage.remove(state)
    return result


def say_if_it_waits(config: Config, kept: bool) -> None:
    """Ray Train waits without a word for what a cluster does not have; an autoscaler may still bring it."""
    workers, there = config.train.min_workers or config.train.workers, ray.cluster_resources()
    for kind, need in needed(config, workers, kept).items():
        if need > there.get(kind, 0):
            console.print(
                f"[yellow]train: {workers} workers and what reads their rows need {need:g} {kind}s, the cluster has "
                f"{there.get(kind, 0):g}: training waits for more. Fewer: train.workers, ray.model_{kind.lower()}s[/]"
            )


def _name(config: Config, folder: str, ids: list[str]) -> str:
    """The run that makes this bundle from these posts with these settings: it goes on where it was cut off."""
    told = json.dumps([folder, settings(config), ids], sort_keys=True)
    return f"train-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _trainer(config: Config, task: dict[str, Any], feeds: InOrder, state: str) -> TorchTrainer:
    gpus, train = config.ray.model_gpus, config.train
    folder, _, name = state.rpartition("/")
    return TorchTrainer(
        work,
        train_loop_config=task,
        datasets={"train": ray.data.range(1)},  # in place of which every rank gets its own
        dataset_config=feeds,
        torch_config=TorchConfig("nccl" if gpus else "gloo", timeout_s=300),
        scaling_config=ScalingConfig(
            num_workers=(train.min_workers, train.workers) if train.min_workers else train.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": config.ray.model_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(name=name, storage_path=folder, failure_config=FailureConfig(max_failures=RESTARTS)),
    )


def build_learner(
    config: Config, facts: Facts, order: Order, warmup_steps: int, steps: int, device: torch.device | None = None
) -> Learner:
    """A rank's learner at step 0, its model drawn from the seed or read from the checkpoint."""
    return Learner(
        build_model(config.model, facts.processor, config.seed),
        Collator(facts.processor, config.model, facts.scale),
        config.tasks,
        config.train,
        order,
        warmup_steps=warmup_steps,
        steps=steps,
        word_weights=facts.words,
        device=device,
    )


def work(task: dict[str, Any]) -> None:
    """One rank of Ray Train: every step from the last checkpoint on, the bundle at the end."""
    config, facts, order, steps = parse(task["config"]), task["facts"], task["order"], task["steps"]
    rank, ranks = parallelize.place()
    torch.set_num_threads(max(1, int(config.ray.model_cpus)))
    learner = build_learner(config, facts, order, task["warmup"], steps, get_device())
    posts, context = config.paths.of("posts"), config.paths.of("context")
    held_out = list(rows(load_examples(posts, context, facts.validation, history_of(config)), config.tasks))
    curve, log = Curve(steps // 100), task["log"]
    if rank == 0:
        log.begin.remote(ray.util.get_current_placement_group())

    shown = 0.0

    def report(done: int, losses: dict[str, float]) -> bool:
        nonlocal shown
        if rank == 0 and (losses or done == steps or time.monotonic() - shown > SHOWN_S):
            log.show.remote(done, curve.points[-1:], losses)
            shown = time.monotonic()
        return verdict(log, done) if losses and task["judged"] else True

    def cells(steps: range) -> Iterator[list[list[dict[str, Example]]]]:
        # Asked for once the loop has found where it goes on: `InOrder` looks there, too.
        shard = ray.train.get_dataset_shard("train")
        return feed(shard, config.tasks, order, steps, rank, ranks, task["kept"])

    final = train(learner, cells, held_out, curve, task["checkpoints"], report)
    final = {f"validation_{name}": value for name, value in final.items()}
    if not task["judged"]:
        weights = parallelize.gathered(learner.trainable) if config.train.strategy == "fsdp" else None
        if rank == 0:
            _save(task["folder"], config, learner, weights, facts, final)
    if rank == 0:
        counts = {"steps": learner.done, "skipped_steps": learner.skipped}
        ray.get(log.finish.remote(counts | final, curve.flush()))


def _save(
    folder: str, config: Config, learner: Learner, weights: dict[str, Tensor] | None, facts: Facts,
    final: dict[str, float],
) -> None:  # fmt: skip
    # They know the retriever, too: seconds that no rank needs to wait for at its start.
    from m3l.inference import bundle
    from m3l.inference.calibrate import calibrated

    model = learner.model
    if weights is not None:  # of a model that is sharded itself
        model = build_model(config.model, facts.processor, config.seed)
        model.load_state_dict(weights, strict=False)
    made = bundle.Bundle(
        config, model.eval(), facts.processor, facts.scale, None, Intervals(), frozenset(facts.accounts)
    )
    intervals = calibrated(made, learner.device)
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary)
        known = {"train_posts": facts.rows, "metrics": final}
        told = {"intervals": intervals, "accounts": facts.accounts, **known}
        bundle.save(local, config, model, facts.processor, facts.scale, told)
        storage.upload(local, folder)
        retriever = config.paths.of("retriever")
        for part in ("model.safetensors", "retriever.json") if config.model.media else ():
            storage.copy(f"{retriever}/{part}", f"{folder}/retriever/{part}")
        if past := history_of(config):
            for below in ("", f"/{COMPANY}"):
                for path in storage.parts(f"{past}/{ACCOUNTS}{below}"):
                    name = f"{below}/{path.rpartition('/')[2]}"
                    storage.copy(f"{past}/{ACCOUNTS}{name}", f"{folder}/{bundle.HISTORY}{name}")


def facts_of(config: Config, ids: list[str], held_out: list[str]) -> Facts:
    """What the posts `ids` tell every rank; `held_out` are the ids to validate on."""
    posts, training = config.paths.of("posts"), set(ids)
    past = history_of(config)
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
            history = recalled(past, row["post_id"]) if past and len(sampled) < SAMPLED_HISTORIES else None
            sampled.append(Post.model_validate({**row, "history": history}))
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
    if metrics["skipped_steps"]:
        told.append(f"{metrics['skipped_steps']:,} steps skipped for gradients that were not finite")
    return f"{metrics['train_posts']:,} posts, {metrics['steps']:,} steps, " + ", ".join(told)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
