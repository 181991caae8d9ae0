"""Gloo ranks that train together: `python -m tests.m3l.learning.ranks FOLDER` leaves what both saw, by strategy."""

import sys
from pathlib import Path
from typing import Any

import torch

from m3l.config import LoraSettings
from m3l.data.records import Row
from m3l.distributed import parallelize
from m3l.model.build import build_model, build_processor
from m3l.training import checkpoint
from m3l.training.sampler import Order
from m3l.training.trainer import Learner
from tests.support.posts import TINY, WORDS, collator, example, row

STEPS, SAVED = 6, 3
ORDER = Order(rows=48, seed=0, cell=2, cells=4)
CHANGES: dict[str, dict[str, Any]] = {"ddp": {}, "fsdp": {"activation_checkpointing": True}}
HELD_OUT = [row(example(number, frames=number % 3)) for number in range(40)]


def learner(strategy: str) -> Learner:
    """With everything that is drawn: frames, fields, augmentation, dropout."""
    config = TINY.model.model_copy(update={"lora": LoraSettings(rank=2, dropout=0.3)})
    drawn = {"strategy": strategy, "frames": 2, "augment": True, "field_dropout": 0.3, "accumulate": 2}
    processor = build_processor(config, WORDS)
    return Learner(
        build_model(config, processor, seed=0),
        collator(processor),
        TINY.tasks,
        TINY.train.model_copy(update=drawn | CHANGES[strategy]),
        ORDER,
        warmup_steps=2,
        steps=STEPS,
        word_weights=torch.ones(len(processor.tokenizer)),
    )


def cells(step: int) -> list[list[Row]]:
    """This rank's: captions of many lengths; some cells, and all of step 4, are without media."""
    made = []
    for number in ORDER.numbers(*parallelize.place()):
        frames = 0 if step == 4 or (number == 1 and step % 2) else 3
        rows = [example(8 * step + 2 * number + i, frames * (i + number) % 4) for i in range(2)]
        made.append([row(each) for each in rows])
    return made


def scenario(strategy: str, folder: Path) -> dict[str, Any]:
    """Six steps, and the last three again from a checkpoint."""
    taught, told = learner(strategy), []
    writer = checkpoint.Writer(str(folder / strategy))
    for step in range(STEPS):
        told.append(taught.step(cells(step)) | {"norm": taught.norm})
        if step + 1 == SAVED:
            writer.write(SAVED, *taught.state())
    writer.wait()
    again = learner(strategy)
    step, facts = checkpoint.recover(str(folder / strategy)) or (0, {})
    again.load(str(folder / strategy), step, facts)
    for step in range(SAVED, STEPS):
        again.step(cells(step))
    return {
        "told": told,
        "held_out": taught.evaluate(HELD_OUT),
        "weights": parallelize.gathered(taught.trainable),
        "again": parallelize.gathered(again.trainable),
    }


def rank(number: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=2)
    torch.set_num_threads(1)
    torch.save({strategy: scenario(strategy, folder) for strategy in CHANGES}, folder / f"rank{number}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that the libraries are imported once; safe, because nothing has run in torch yet.
    torch.multiprocessing.start_processes(rank, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
