"""Further tasks need only an entry in the configuration: predict who posted, and when."""

from pathlib import Path
from typing import Any

import torch
import yaml

from m3l.config import load
from m3l.inference.bundle import Bundle
from m3l.inference.conformal import Intervals
from m3l.inference.simulator import Simulator
from m3l.model.build import build_model
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer
from tests.support.posts import TINY, example, make_collator, row

ENTRIES = """
  - {name: who, masked: username, head: caption, template: "{{Caption is {caption}.}} Posted by: [MASK]"}
  - {name: when, masked: posted_at, head: caption, template: "{{Caption is {caption}.}} Posted at: [MASK]"}
"""
POSTS = [example(0, username="fox"), example(1, username="owls", frames=0), example(2, username="sea", frames=2)]


def test_tasks_of_the_configuration_are_trained_and_predicted(processor: Any, tmp_path: Path) -> None:
    settings = yaml.safe_load(TINY.to_yaml())
    settings["tasks"] += yaml.safe_load(ENTRIES)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    config = load(str(tmp_path / "mine.yaml"), ["train.schedule=joint", "train.lr=0.01", "model.new_accounts=name"])

    collator = make_collator(processor, max_caption_tokens=16)
    trainer = Trainer(
        build_model(config.model, processor, seed=0),
        collator,
        config.tasks,
        config.train,
        ResumableSampler(rows=3, seed=0, microbatch_size=3, microbatches=1),
        alignment_steps=0,
        steps=60,
        word_weights=torch.ones(len(processor.tokenizer)),
    )
    for _ in range(60):
        trainer.step([[row(post) for post in POSTS]])

    bundle = Bundle(config, trainer.model.eval(), processor, collator.scale, None, Intervals(), frozenset())
    simulator = Simulator(bundle, torch.device("cpu"))
    assert simulator.generate_captions(POSTS, task=config.task("who")) == ["fox", "owls", "sea"]
    assert simulator.generate_captions(POSTS, task=config.task("when")) == ["2020-07-19 00:07:00"] * 3
    assert simulator.generate_captions(POSTS) == [post.post.caption for post in POSTS]
