"""What a training will take, from its configuration on the meta device: parameters, memory, FLOPs, time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from m3l.config import Config, ConfigError, ModelConfig
from m3l.cost.flops import PartCost, blocks_of, part_costs
from m3l.model.architectures import TEXT_CONFIGS, published_config
from m3l.model.build import added_part_sizes, prepare_for_training, untie_lm_head
from m3l.model.config import M3LConfig
from m3l.model.m3l import M3L

GIB = 2**30
PEAK_TFLOPS = {"a100": 312, "l40s": 362, "h100": 989, "h200": 989, "b200": 2250}  # dense bf16, by the data sheets
TRAINED_BYTES = 4 + 4 + 8  # of a parameter that trains: float32 itself, its gradient, AdamW's two moments
BUCKET_BYTES = 4  # of the same, in the buffers in which DDP reduces gradients
PARTS = ("vision_model", "qformer", "tformer", "language_projection", "language_model", "likes_head", "history_head")


@dataclass(frozen=True)
class PartSize:
    """The parameters of one part of the model.

    Attributes:
        name: The part; the Q-Former includes `query_tokens`.
        parameters: Number of parameters without adapters.
        adapters: Number of parameters of LoRA.
        trainable: Number of parameters that train, with adapters.
        bytes: Of all parameters and adapters.
    """

    name: str
    parameters: int
    adapters: int
    trainable: int
    bytes: int


@dataclass(frozen=True)
class CostEstimate:
    """What a training takes.

    Attributes:
        parts: The parameters of each part.
        largest_block_bytes: Of the largest transformer block, which FSDP2 gathers at a time.
        unblocked_bytes: Of parameters outside of blocks, such as embeddings and the language model's head.
        costs: What each part takes of a step, for one post.
        batch_size: Posts that one GPU computes at once.
        frame_bytes: Of the ViT's features of one frame.
        tflops: What one GPU is expected to reach, in 10^12 FLOPs a second.
    """

    parts: tuple[PartSize, ...]
    largest_block_bytes: int
    unblocked_bytes: int
    costs: tuple[PartCost, ...]
    batch_size: int
    frame_bytes: int
    tflops: float

    @property
    def trainable(self) -> int:
        """Number of parameters that train."""
        return sum(part.trainable for part in self.parts)

    @property
    def frozen_bytes(self) -> int:
        """Of all frozen parameters."""
        return sum(part.bytes for part in self.parts) - 4 * self.trainable

    @property
    def vision_share(self) -> float:
        """The ViT's share of a step's FLOPs, which a cache of its features saves."""
        return next(c.step_flops for c in self.costs if c.name == "vision_model") / self.step_flops(False)

    def gpu_bytes(self, strategy: str, gpus: int, checkpointing: bool) -> int:
        """The peak memory of each GPU: parameters, gradients, optimiser, activations, and buffers of the strategy.

        Args:
            strategy: `ddp` or `fsdp`.
            gpus: Number of GPUs.
            checkpointing: Whether activations are checkpointed.
        """
        persistent = self.frozen_bytes + TRAINED_BYTES * self.trainable
        activations = sum(c.checkpointed_bytes if checkpointing else c.activation_bytes for c in self.costs)
        if checkpointing:  # and the block that is being computed again
            activations += max(c.block_bytes for c in self.costs)
        activations *= self.batch_size
        if gpus == 1:
            return persistent + activations
        if strategy == "ddp":
            return persistent + BUCKET_BYTES * self.trainable + activations
        gathered = 2 * self.largest_block_bytes + self.unblocked_bytes  # one block is computed, the next one gathered
        return persistent // gpus + gathered + activations

    def step_flops(self, checkpointing: bool) -> int:
        """The FLOPs that one post takes of a training step."""
        return sum(c.step_flops + (c.recompute_flops if checkpointing else 0) for c in self.costs)

    def seconds(self, posts: int, gpus: int, checkpointing: bool) -> float:
        """The time to train on `posts` posts once, with so many GPUs."""
        return posts * self.step_flops(checkpointing) / (gpus * self.tflops * 1e12)


def estimate_cost(config: Config) -> CostEstimate:
    """Estimate what a training with a checkpoint takes; its weights are not loaded.

    Args:
        config: The configuration: its model, tasks, training, and the assumptions in `plan`.

    Raises:
        ConfigError: The sizes of `model.checkpoint` are not available.
    """
    architecture, dtype = _architecture(config.model), getattr(torch, config.model.dtype)
    with torch.device("meta"):
        model = untie_lm_head(M3L(architecture))
    model = prepare_for_training(model.to(dtype), config.model)
    parts = tuple(_part_sizes(model))
    block_bytes = [_parameter_bytes(block) for block in blocks_of(model)]
    unblocked_bytes = _parameter_bytes(model) - sum(block_bytes)
    vision = architecture.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    costs = part_costs(
        model.to(dtype),  # all in half precision, as autocast computes
        config.plan,
        frames=config.train.frames,
        tasks_per_step=len(config.tasks) if config.train.schedule == "joint" else 1,
        shared_text=config.model.qformer_text == "shared",
    )
    return CostEstimate(
        parts=parts,
        largest_block_bytes=max(block_bytes),
        unblocked_bytes=unblocked_bytes,
        costs=tuple(costs),
        batch_size=config.train.batch_size,
        frame_bytes=patches * vision.hidden_size * dtype.itemsize,
        tflops=PEAK_TFLOPS[config.plan.gpu] * config.plan.mfu,
    )


def cache_line(estimate: CostEstimate, frames: int, max_bytes: int | None = None) -> str:
    """A line on what `train.cache_vision` costs and saves.

    Args:
        estimate: What the training takes.
        frames: Number of frames of the training.
        max_bytes: Size of the cache; None: as large as all frames need.
    """
    needed = frames * estimate.frame_bytes
    used = needed if max_bytes is None else min(needed, max_bytes)
    return (
        f"train.cache_vision: {used / GIB:,.1f} GiB of memory for {used // estimate.frame_bytes:,} of {frames:,} "
        f"frames; saves {estimate.vision_share:.0%} of a step's FLOPs whenever a cached frame is drawn again"
    )


def _architecture(config: ModelConfig) -> M3LConfig:
    name, added_parts = config.checkpoint, added_part_sizes(config)
    if name in TEXT_CONFIGS:
        return published_config(name, **added_parts)
    if name and Path(name).is_dir():
        architecture: M3LConfig = M3LConfig.from_pretrained(name, **added_parts)
        architecture.mask_token_id = architecture.text_config.vocab_size - 1
        return architecture
    names = ", ".join(TEXT_CONFIGS)
    raise ConfigError(f"model.checkpoint: a plan knows the sizes of {names} and of local directories, not of {name!r}")


def _part_sizes(model: M3L) -> Iterator[PartSize]:
    for name in PARTS:
        if not hasattr(model, name):
            continue
        parameters = list(model.get_submodule(name).named_parameters())
        if name == "qformer":
            parameters.append(("query_tokens", model.query_tokens))
        adapters = sum(p.numel() for n, p in parameters if "lora_" in n or "trainable_tokens" in n)
        yield PartSize(
            name,
            parameters=sum(p.numel() for _, p in parameters) - adapters,
            adapters=adapters,
            trainable=sum(p.numel() for _, p in parameters if p.requires_grad),
            bytes=sum(p.numel() * p.element_size() for _, p in parameters),
        )


def _parameter_bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())
