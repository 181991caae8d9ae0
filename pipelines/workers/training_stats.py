"""Statistics of the training posts, alike for every rank: tokenizers, scale of the likes, word weights, accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from m3l.config import ModelConfig, TaskConfig
from m3l.data import storage
from m3l.data.examples import load_history
from m3l.data.records import Post
from m3l.model.build import build_processor
from m3l.prompts.collator import LikesScale
from m3l.prompts.render import render
from m3l.training.loss import word_weights

SAMPLED_TEXTS = 20_000  # posts that the tiny tokenizers and the word frequencies are learned from
SAMPLED_HISTORIES = 1_000  # of these with their history, so that the tokenizers learn its words
MIN_STD = 1e-3  # of log1p(likes), where all posts have equally many


@dataclass(frozen=True)
class TrainingStats:
    """What every rank must share before it starts, from the training posts alone.

    Attributes:
        processor: Tokenizers and image processor.
        scale: Mean and standard deviation of log1p(likes).
        word_weights: Weight of each token in the bag-of-words loss, (vocabulary,).
        accounts: Usernames of the training posts, sorted.
        rows: Number of training posts.
    """

    processor: Any
    scale: LikesScale
    word_weights: torch.Tensor
    accounts: list[str]
    rows: int


def training_stats(
    posts: str, history: str | None, ids: Sequence[str], tasks: Sequence[TaskConfig], model: ModelConfig
) -> TrainingStats:
    """One pass over the training posts.

    Args:
        posts: Folder of the posts.
        history: Folder of their histories; None where the model reads none.
        ids: The posts to train on.
        tasks: The tasks whose prompts the tokenizers must know.
        model: Which tokenizers to build or load.
    """
    training = set(ids)
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
            shown = load_history(history, row["post_id"]) if history and len(sampled) < SAMPLED_HISTORIES else None
            sampled.append(Post.model_validate({**row, "history": shown}))
    mean = total / count
    scale = LikesScale(mean, max(MIN_STD, (squares / count - mean**2) ** 0.5))
    prompts = [render(task, post) for post in sampled for task in tasks]
    processor = build_processor(model, prompts + [post.caption or "" for post in sampled])
    tokenizer = processor.tokenizer
    captions = (tokenizer(" " + (p.caption or ""), add_special_tokens=False)["input_ids"] for p in sampled)
    weights = word_weights(captions, len(tokenizer))
    return TrainingStats(processor, scale, weights, sorted(accounts), len(ids))
