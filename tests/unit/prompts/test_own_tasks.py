"""More modalities to mask are entries of the configuration: who posted, and when."""

from pathlib import Path
from typing import Any

import torch
import yaml

from m3l.config import load
from m3l.inference.bundle import Bundle
from m3l.inference.conformal import Intervals
from m3l.inference.simulator import Simulator
from m3l.model.build import build_model
from m3l.training.sampler import Order
from m3l.training.trainer import Learner
from tests.support.posts import TINY, collator, example, row

ENTRIES = """
  - {name: who, masked: username, head: caption, template: "{{Caption is {caption}.}} Posted by: [MASK]"}
  - {name: when, masked: posted_at, head: caption, template: "{{Caption is {caption}.}} Posted at: [MASK]"}
"""
POSTS = [example(0, username="fox"), example(1, username="owls", frames=0), example(2, username="sea", frames=2)]


def test_who_and_when_are_learned_and_told_without_a_line_of_code(processor: Any, tmp_path: Path) -> None:
    settings = yaml.safe_load(TINY.to_yaml())
    settings["tasks"] += yaml.safe_load(ENTRIES)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    config = load(str(tmp_path / "mine.yaml"), ["train.schedule=joint", "train.lr=0.01", "model.new_accounts=name"])

    made = collator(processor, max_caption_tokens=16)
    taught = Learner(
        build_model(config.model, processor, seed=0),
        made,
        config.tasks,
        config.train,
        Order(rows=3, seed=0, cell=3, cells=1),
        warmup_steps=0,
        steps=60,
        word_weights=torch.ones(len(processor.tokenizer)),
    )
    for _ in range(60):
        taught.step([[row(post) for post in POSTS]])

    bundle = Bundle(config, taught.model.eval(), processor, made.scale, None, Intervals(), frozenset())
    simulator = Simulator(bundle, torch.device("cpu"))
    assert simulator.captions(POSTS, task=config.task("who")) == ["fox", "owls", "sea"]
    assert simulator.captions(POSTS, task=config.task("when")) == ["2020-07-19 00:07:00"] * 3
    assert simulator.captions(POSTS) == [post.post.caption for post in POSTS]
