"""Two gloo ranks that train together: `python two_ranks.py FOLDER` leaves each one's weights and losses there."""

import sys
from pathlib import Path

import torch
from made import TINY, WORDS, collator, example, row

from m3l.config import LoraSettings
from m3l.model.build import build_model, build_processor
from m3l.training import Learner

STEPS = 6


def rank(number: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=2)
    torch.set_num_threads(1)
    config = TINY.model.model_copy(update={"lora": LoraSettings(rank=2)})
    processor = build_processor(config, WORDS)
    learner = Learner(
        build_model(config, processor, seed=0),
        collator(processor),
        TINY.tasks,
        TINY.train,
        warmup_steps=2,
        steps=STEPS,
        seed=0,
        rank=number,
        word_weights=torch.ones(len(processor.tokenizer)),
    )
    losses = []
    for step in range(STEPS):
        frames = 0 if step == 4 or (number == 1 and step % 2) else 2  # rank 1 now and then has none, once both
        losses.append(learner.step([row(example(10 * step + 2 * number + i, frames)) for i in range(2)]))
    torch.save({"losses": losses, "weights": learner.model.state_dict()}, folder / f"rank{number}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that the libraries are imported once; safe, because nothing has run in torch yet.
    torch.multiprocessing.start_processes(rank, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
