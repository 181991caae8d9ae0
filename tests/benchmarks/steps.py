"""Training steps on random posts: models of two sizes, and a step's time and memory."""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import InstructBlipQFormerConfig, InstructBlipVisionConfig, LlamaConfig

from m3l.config import LoraSettings
from m3l.model.config import M3LConfig
from m3l.model.lora import add_lora
from m3l.model.m3l import M3L

Size = Literal["tiny", "smollm2"]
FRAMES, QUERIES, PROMPT, CAPTION = 10, 32, 160, 40  # frames of a post; tokens of a frame, a prompt, a caption
BATCH = {"tiny": 8, "smollm2": 2}
TEXT = {
    "tiny": {"vocab_size": 1200, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
             "num_attention_heads": 4},
    "smollm2": {"vocab_size": 49154, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                "num_attention_heads": 9, "num_key_value_heads": 3},
}  # fmt: skip


class Figures(NamedTuple):
    """Time and memory of training steps.

    Attributes:
        step_s: Median of seconds per step.
        all_s: Seconds of each step.
        start_mib: Peak memory of the process before its first step.
        peak_mib: Peak memory of the process at the end.
    """

    step_s: float
    all_s: list[float]
    start_mib: float
    peak_mib: float


def configuration(size: Size) -> M3LConfig:
    """The tiny preset's vision parts with QUERIES query tokens, and a language model of that size."""
    text = LlamaConfig(**TEXT[size], tie_word_embeddings=True, max_position_embeddings=2048)
    return M3LConfig(
        vision_config=InstructBlipVisionConfig(
            hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4, image_size=56,
            patch_size=8,
        ),
        qformer_config=InstructBlipQFormerConfig(
            vocab_size=1200, hidden_size=96, encoder_hidden_size=96, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=192,
        ),
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=text.vocab_size - 1,
        mask_token_id=text.vocab_size - 2,
        head_hidden=256,
    )  # fmt: skip


def trainable(model: Any) -> Any:
    """The model set up for training as a checkpoint is: a frozen ViT, LoRA on the language model."""
    model.vision_model.requires_grad_(False)
    add_lora(model, LoraSettings(rank=16))
    return model.train()


def media(batch: int) -> dict[str, Tensor]:
    """The arguments of `M3L.encode_media` for posts of FRAMES frames."""
    return {
        "pixel_values": torch.randn(batch, FRAMES, 3, 56, 56),
        "frame_mask": torch.ones(batch, FRAMES, dtype=torch.bool),
        "frame_seconds": torch.arange(FRAMES).float().expand(batch, -1).contiguous(),
        "qformer_input_ids": torch.randint(1, 1000, (batch, 16)),
        "qformer_attention_mask": torch.ones(batch, 16, dtype=torch.long),
    }


def text(batch: int, visual: int, image_token: int) -> dict[str, Tensor]:
    """Prompts after image tokens, and captions as labels.

    Args:
        batch: Number of posts.
        visual: Image tokens of each post.
        image_token: Their id.
    """
    words = torch.randint(5, 1000, (batch, PROMPT + CAPTION))
    ids = torch.cat([torch.full((batch, visual), image_token), words], 1)
    labels = torch.full_like(ids, -100)
    labels[:, -CAPTION:] = ids[:, -CAPTION:]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def measured(model: nn.Module, losses: Callable[[], list[Tensor]], repeats: int) -> Figures:
    """Measure steps of AdamW on the sum of some losses; the first step is not counted.

    Args:
        model: The model.
        losses: Computes the losses of a step.
        repeats: Number of measured steps.
    """
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4, fused=True)
    start, times = _peak_mib(), []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        torch.stack(losses()).sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - started)
    return Figures(statistics.median(times[1:]), [round(t, 3) for t in times[1:]], start, _peak_mib())


def ours(size: Size) -> M3L:
    """A randomly initialised M3L, ready for training."""
    torch.manual_seed(0)
    return trainable(M3L(configuration(size)))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
