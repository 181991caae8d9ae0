"""One rank of a training run: what every rank starts from, its steps, the bundle at its end."""

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
from ray.train.torch import get_device
from torch import Tensor

from m3l.config import Config, parse
from m3l.data import storage
from m3l.data.examples import history_of, load_examples, recalled, rows
from m3l.data.records import ACCOUNTS, COMPANY, Example, Post
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
from pipelines.runtime.train_run import verdict
from pipelines.workers.train_data import feed

SAMPLED_TEXTS = 20_000  # posts that the tiny tokenizers and the word frequencies are learned from


SAMPLED_HISTORIES = 1_000  # how a history is told, for the tokenizers


SHOWN_S = 0.5  # between two words of rank 0 on its steps


@dataclass
class Facts:
    """What every rank must know alike before it starts, from the training rows alone."""

    processor: Any
    scale: LikesScale
    words: torch.Tensor
    accounts: list[str]
    rows: int
    validation: list[str]


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
