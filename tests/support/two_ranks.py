"""Two gloo ranks that train together: `python -m tests.support.two_ranks FOLDER` leaves what they computed.

FOLDER/train0.pt and train1.pt hold the results of each rank's training of M3L, by strategy; FOLDER/retriever0of1.pt,
retriever0of2.pt and retriever1of2.pt the retriever's losses and gradients on one rank and on two. One program for both,
because most of its time goes into importing torch and transformers.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from m3l.config import ClipConfig, LoraSettings
from m3l.data.records import TaskExamples
from m3l.distributed import collectives
from m3l.model.build import build_model, build_processor
from m3l.retriever.clip import Retriever
from m3l.retriever.objectives import CaptionContrast, FrameBatch, FrameRetrieval
from m3l.training import checkpoint
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer
from tests.support.posts import TINY, WORDS, example, make_collator, row

STEPS, SAVED = 6, 3
SAMPLER = ResumableSampler(rows=48, seed=0, microbatch_size=2, microbatches=4)
STRATEGIES: dict[str, dict[str, Any]] = {"ddp": {}, "fsdp": {"activation_checkpointing": True}}
HELD_OUT = [row(example(number, frames=number % 3)) for number in range(40)]
RETRIEVER_POSTS, RETRIEVER_FRAMES = 4, 3


def make_trainer(strategy: str) -> Trainer:
    """A trainer with all that is random: frames, fields, augmentation, dropout."""
    config = TINY.model.model_copy(update={"lora": LoraSettings(rank=2, dropout=0.3)})
    changes = {"strategy": strategy, "frames": 2, "augment": True, "field_dropout": 0.3, "accumulate": 2}
    processor = build_processor(config, WORDS)
    return Trainer(
        build_model(config, processor, seed=0),
        make_collator(processor),
        TINY.tasks,
        TINY.train.model_copy(update=changes | STRATEGIES[strategy]),
        SAMPLER,
        alignment_steps=2,
        steps=STEPS,
        word_weights=torch.ones(len(processor.tokenizer)),
    )


def microbatches(step: int) -> list[list[TaskExamples]]:
    """This rank's part of a step: captions of many lengths; some microbatches, and all of step 4, have no media."""
    rows = []
    for number in SAMPLER.microbatches_of(*collectives.rank_and_world_size()):
        frames = 0 if step == 4 or (number == 1 and step % 2) else 3
        examples = [example(8 * step + 2 * number + i, frames * (i + number) % 4) for i in range(2)]
        rows.append([row(each) for each in examples])
    return rows


def train_and_resume(strategy: str, folder: Path) -> dict[str, Any]:
    """Train for six steps, then repeat the last three from a checkpoint."""
    trainer, losses = make_trainer(strategy), []
    writer = checkpoint.CheckpointWriter(str(folder / strategy))
    for step in range(STEPS):
        losses.append(trainer.step(microbatches(step)) | {"norm": trainer.grad_norm})
        if step + 1 == SAVED:
            writer.write(SAVED, *trainer.state())
    writer.wait()
    resumed = make_trainer(strategy)
    step, run_state = checkpoint.recover(str(folder / strategy)) or (0, {})
    resumed.load(str(folder / strategy), step, run_state)
    for step in range(SAVED, STEPS):
        resumed.step(microbatches(step))
    return {
        "losses": losses,
        "held_out": trainer.evaluate(HELD_OUT),
        "weights": collectives.full_state_dict(trainer.trainable),
        "resumed_weights": collectives.full_state_dict(resumed.trainable),
    }


def retriever_losses(rank: int, world: int) -> dict[str, dict[str, Any]]:
    """The losses and gradients of the retriever's two objectives on this rank's share of four posts."""
    # In evaluation mode: each rank has its own batch statistics, by design.
    retriever = Retriever.build(ClipConfig(tiny=True), seed=0)
    random = torch.Generator().manual_seed(0)
    shape = (RETRIEVER_POSTS, RETRIEVER_FRAMES, 3, 64, 64)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    mask = torch.arange(RETRIEVER_FRAMES) < torch.tensor([[3], [1], [2], [3]])
    labels = mask & (torch.rand(RETRIEVER_POSTS, RETRIEVER_FRAMES, generator=random) < 0.5)
    own = slice(rank * RETRIEVER_POSTS // world, (rank + 1) * RETRIEVER_POSTS // world)
    frames = FrameBatch(pixels[own][mask[own]], mask[own])
    texts = [f"{field} {i}" for i in range(RETRIEVER_POSTS) for field in ("caption", "content", "behaviour")]
    captions, *prompts = retriever.tokenize(texts).unflatten(0, (RETRIEVER_POSTS, 3))[own].unbind(1)
    return {
        "contrast": _loss_and_gradients(CaptionContrast(retriever), frames, captions),
        "retrieval": _loss_and_gradients(
            FrameRetrieval(retriever, 0.1, 0.9), frames, torch.stack(prompts, 1), labels[own]
        ),
    }


def _loss_and_gradients(objective: nn.Module, *batch: object) -> dict[str, Any]:
    objective.zero_grad()
    several = torch.distributed.is_initialized()
    module = DistributedDataParallel(objective, find_unused_parameters=True) if several else objective
    loss = module(*batch)["loss"]
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), "gradients": gradients}


def run_rank(rank: int, world: int, folder: Path) -> None:
    """One process of `world`; a single one computes the retriever's losses alone."""
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=world)
    torch.save(retriever_losses(rank, world), folder / f"retriever{rank}of{world}.pt")
    if world > 1:
        torch.save(
            {strategy: train_and_resume(strategy, folder) for strategy in STRATEGIES}, folder / f"train{rank}.pt"
        )
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that the libraries are imported once; safe, because nothing has run in torch yet.
    for world in (1, 2):
        torch.multiprocessing.start_processes(run_rank, (world, Path(sys.argv[1])), nprocs=world, start_method="fork")
