"""One rank on four posts, then two on two each: `python ranks.py FOLDER` leaves losses and gradients there."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from m3l.config import ClipConfig
from m3l.retriever.clip import Retriever
from m3l.retriever.objectives import CaptionContrast, FrameRetrieval, Frames

POSTS, PLACES = 4, 3


def rank(number: int, world: int, folder: Path) -> None:
    if world > 1:
        torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=world)
    torch.set_num_threads(1)
    # In evaluation mode: the statistics of a batch are each rank's own, by design.
    retriever = Retriever.build(ClipConfig(tiny=True), seed=0)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (POSTS, PLACES, 3, 64, 64), dtype=torch.uint8, generator=random)
    mask = torch.arange(PLACES) < torch.tensor([[3], [1], [2], [3]])
    labels = mask & (torch.rand(POSTS, PLACES, generator=random) < 0.5)
    own = slice(number * POSTS // world, (number + 1) * POSTS // world)
    frames = Frames(pixels[own][mask[own]], mask[own])
    texts = [f"{field} {i}" for i in range(POSTS) for field in ("caption", "content", "behaviour")]
    captions, *prompts = retriever.tokens(texts).unflatten(0, (POSTS, 3))[own].unbind(1)
    told = {
        "contrast": _told(CaptionContrast(retriever), frames, captions),
        "retrieval": _told(FrameRetrieval(retriever, 0.1, 0.9), frames, torch.stack(prompts, 1), labels[own]),
    }
    torch.save(told, folder / f"{number}of{world}.pt")
    if world > 1:
        torch.distributed.destroy_process_group()


def _told(objective: nn.Module, *batch: object) -> dict:
    objective.zero_grad()
    several = torch.distributed.is_initialized()
    made = DistributedDataParallel(objective, find_unused_parameters=True) if several else objective
    loss = made(*batch)["loss"]
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), "gradients": gradients}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for world in (1, 2):
        torch.multiprocessing.start_processes(rank, (world, target), nprocs=world, start_method="fork")
