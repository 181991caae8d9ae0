"""Tiny models: what the trainer's tests train, and an InstructBLIP as a model hub publishes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, PreTrainedTokenizerFast, T5Config

from m3l.model.build import build_model
from m3l.model.m3l import M3L
from m3l.training.fit import train
from m3l.training.loss_curve import LossCurve
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer
from tests.support.posts import TINY, example, make_collator, row

ROWS = [row(example(0, frames=2)), row(example(1)), row(example(2, frames=0))]


def make_trainer(
    processor: Any,
    steps: int = 10,
    alignment_steps: int = 0,
    setting: str = "shared",
    microbatches: int = 1,
    **changes: Any,
) -> Trainer:
    """A trainer of the model of `TINY` at step 0.

    Args:
        processor: The processor of `TINY`.
        steps: Steps of the whole run.
        alignment_steps: Steps of its alignment stage.
        setting: `model.qformer_text`.
        microbatches: Microbatches in a step.
        changes: Fields of `config.train`.
    """
    return Trainer(
        build_model(TINY.model, processor, seed=0),
        make_collator(processor, qformer_text=setting),
        TINY.tasks,
        TINY.train.model_copy(update=changes),
        ResumableSampler(rows=30, seed=0, microbatch_size=3, microbatches=microbatches),
        alignment_steps=alignment_steps,
        steps=steps,
        word_weights=torch.ones(len(processor.tokenizer)),
    )


CHECKPOINT_ROWS = [row(example(number, frames=number % 3)) for number in range(10)]
CHECKPOINT_STEPS = 9


class CutOff(Exception):
    """Ends a run early, in place of a kill."""


def checkpointing_trainer(processor: Any, **changes: Any) -> Trainer:
    """A trainer of `CHECKPOINT_STEPS` steps, two of them in the alignment stage, that saves every second step."""
    settings = {"checkpoint_steps": 2, "augment": True, "evaluations": 3}
    trainer = make_trainer(processor, CHECKPOINT_STEPS, 2, **settings | changes)
    trainer.sampler = ResumableSampler(10, 0, 3, 1)
    return trainer


def train_in(
    trainer: Trainer, folder: str, until: int | None = None
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Train on `CHECKPOINT_ROWS` with checkpoints in a folder.

    Args:
        trainer: The trainer of `checkpointing_trainer`.
        folder: Where the checkpoints are, local or `s3://`.
        until: The step before which the run is cut off.

    Returns:
        The losses on the first four rows, and the loss curve.

    Raises:
        CutOff: Before step `until`.
    """

    def microbatches(steps: range) -> Iterator[Any]:
        for step in steps:
            if step == until:
                raise CutOff
            yield trainer.sampler.take(CHECKPOINT_ROWS, step, 0, 1)

    curve = LossCurve(1)
    return train(trainer, microbatches, CHECKPOINT_ROWS[:4], curve, folder), curve.flush()


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Copies of the trained parameters, by name."""
    return {name: parameter.detach().clone() for name, parameter in trainer.trainable.items()}


def write_plain(folder: Path, kind: Literal["llama", "t5"], model: M3L, processor: Any) -> Path:
    """Write an InstructBLIP as plain transformers saves it: the sizes of `model`, a vocabulary full to the last row.

    Args:
        folder: Where to write it.
        kind: Its language model: decoder-only, or encoder and decoder.
        model: The sizes of the ViT, the Q-Former and, for `llama`, the language model are its own.
        processor: The processor that it is saved with, without [MASK].

    Returns:
        The folder.
    """
    plain_processor = without_mask(processor)
    image_token = plain_processor.tokenizer.convert_tokens_to_ids("<image>")
    settings = {**model.config.to_dict(), "image_token_index": image_token}
    if kind == "t5":
        text = T5Config(d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu")
        text.update({"initializer_factor": 0.1, "pad_token_id": 3, "eos_token_id": 2, "decoder_start_token_id": 3})
        settings["text_config"] = text.to_dict()
    settings["text_config"] |= {"vocab_size": len(plain_processor.tokenizer), "tie_word_embeddings": False}
    torch.manual_seed(0)
    plain = InstructBlipForConditionalGeneration(InstructBlipConfig.from_dict(settings))
    torch.nn.init.normal_(plain.query_tokens, std=0.02)
    head = torch.randn(plain.language_model.lm_head.weight.shape)
    plain.language_model.lm_head.weight = torch.nn.Parameter(head)  # as Flan-T5's: not the embeddings
    plain.save_pretrained(folder)
    plain_processor.save_pretrained(folder)
    return folder


def without_mask(processor: Any) -> Any:
    """A processor as a hub publishes it, without [MASK]."""
    state = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in ("[MASK]", "<image>")]
    special = {f"{name}_token": getattr(processor.tokenizer, f"{name}_token") for name in ("bos", "eos", "unk", "pad")}
    text = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **special)
    queries = processor.num_query_tokens
    return type(processor)(processor.image_processor, text, processor.qformer_tokenizer, num_query_tokens=queries)
