"""What a training run will take, from the real configuration on the meta device: parameters, memory, FLOPs, time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from m3l.config import Config, ConfigError, ModelConfig
from m3l.cost.flops import Cost, costs, layers
from m3l.model.architectures import TEXTS, published
from m3l.model.build import own_parts, prepared, untied
from m3l.model.m3l import M3L, M3LConfig

PEAK_TFLOPS = {"a100": 312, "l40s": 362, "h100": 989, "h200": 989, "b200": 2250}  # dense bf16, by the makers' sheets
TRAINED_BYTES = 4 + 4 + 8  # of a parameter that trains: float32 itself, its gradient, AdamW's two moments
BUCKET_BYTES = 4  # DDP reduces gradients in buffers of their size
PARTS = ("vision_model", "qformer", "tformer", "language_projection", "language_model", "likes_head", "history_head")


@dataclass(frozen=True)
class Part:
    """Parameters of one part of the model; `query_tokens` count as the Q-Former's."""

    name: str
    parameters: int
    adapters: int  # of LoRA, not among `parameters`
    trains: int  # adapters included
    bytes: int


@dataclass(frozen=True)
class Plan:
    parts: tuple[Part, ...]
    largest_block: int  # bytes of the largest block that FSDP2 gathers at a time
    root: int  # bytes of what lies in no block, such as the embeddings and the language model's head
    costs: tuple[Cost, ...]  # of one post
    batch_size: int  # of one GPU
    frame_bytes: int  # of what the ViT makes of one frame
    tflops: float  # that one GPU is expected to do in a second

    @property
    def frozen_bytes(self) -> int:
        return sum(part.bytes for part in self.parts) - 4 * self.trains

    @property
    def trains(self) -> int:
        return sum(part.trains for part in self.parts)

    def gpu_bytes(self, strategy: str, gpus: int, checkpointing: bool) -> int:
        """The peak of one GPU: what lies there, the activations of its batch, and what FSDP2 gathers for a while."""
        held = self.frozen_bytes + TRAINED_BYTES * self.trains
        one = sum(c.kept_bytes if checkpointing else c.saved_bytes for c in self.costs) * self.batch_size
        if checkpointing:  # and the block that is computed again
            one += max(c.block_bytes for c in self.costs) * self.batch_size
        if gpus == 1:
            return held + one
        if strategy == "ddp":
            return held + BUCKET_BYTES * self.trains + one
        return held // gpus + 2 * self.largest_block + self.root + one  # a block is computed, the next one gathered

    def step_flops(self, checkpointing: bool) -> int:
        """FLOPs of one post's share of a training step."""
        return sum(c.step_flops + (c.again_flops if checkpointing else 0) for c in self.costs)

    @property
    def vision_share(self) -> float:
        """The share of a step's FLOPs that the ViT takes, and that a cache of its patches saves."""
        return next(c.step_flops for c in self.costs if c.name == "vision_model") / self.step_flops(False)

    def seconds(self, posts: int, gpus: int, checkpointing: bool) -> float:
        """Training time of so many posts, once."""
        return posts * self.step_flops(checkpointing) / (gpus * self.tflops * 1e12)


def plan(config: Config) -> Plan:
    """The plan of a configuration with a checkpoint, which is not loaded; ConfigError if its sizes are unknown."""
    architecture = _architecture(config.model)
    with torch.device("meta"):
        model = untied(M3L(architecture))
    model = prepared(model.to(getattr(torch, config.model.dtype)), config.model)
    parts = tuple(_parts(model))
    blocks = [_bytes(block) for block in layers(model)]
    vision = architecture.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    return Plan(
        parts=parts,
        largest_block=max(blocks),
        root=_bytes(model) - sum(blocks),
        costs=tuple(costs(model, config)),
        batch_size=config.train.batch_size,
        frame_bytes=patches * vision.hidden_size * getattr(torch, config.model.dtype).itemsize,
        tflops=PEAK_TFLOPS[config.plan.gpu] * config.plan.mfu,
    )


def _architecture(config: ModelConfig) -> M3LConfig:
    name = config.checkpoint
    own = own_parts(config)
    if name in TEXTS:
        return published(name, **own)
    if name and Path(name).is_dir():
        made: M3LConfig = M3LConfig.from_pretrained(name, **own)
        made.mask_token_id = made.text_config.vocab_size - 1
        return made
    known = ", ".join(TEXTS)
    raise ConfigError(f"model.checkpoint: a plan knows the sizes of {known} and of local directories, not of {name!r}")


def _parts(model: M3L) -> Iterator[Part]:
    for name in PARTS:
        if not hasattr(model, name):
            continue
        module = model.get_submodule(name)
        held = list(module.named_parameters())
        if name == "qformer":
            held.append(("query_tokens", model.query_tokens))
        added = sum(p.numel() for n, p in held if "lora_" in n or "trainable_tokens" in n)
        yield Part(
            name,
            parameters=sum(p.numel() for _, p in held) - added,
            adapters=added,
            trains=sum(p.numel() for _, p in held if p.requires_grad),
            bytes=sum(p.numel() * p.element_size() for _, p in held),
        )


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


GIB = 2**30


def cache_line(made: Plan, frames: int, most_bytes: int | None = None) -> str:
    """What `train.cache_vision` costs and gains on so many frames."""
    whole = frames * made.frame_bytes
    held = whole if most_bytes is None else min(whole, most_bytes)
    return (
        f"train.cache_vision: {held / GIB:,.1f} GiB of memory for {held // made.frame_bytes:,} of {frames:,} frames; "
        f"each saves {made.vision_share:.0%} of a step's FLOPs from the second time on that it is drawn"
    )
