"""From configuration to a model and its processor: a checkpoint, or a tiny one from nothing."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoProcessor

from m3l.config import ConfigError, ModelConfig
from m3l.data import storage
from m3l.history.features import NUMBERS
from m3l.model.lora import adapt
from m3l.model.m3l import M3L, M3LConfig
from m3l.model.tiny import tiny_model, tiny_processor
from m3l.prompts.render import MASK


def build_processor(config: ModelConfig, texts: Iterable[str] = ()) -> Any:
    """The checkpoint's processor with a [MASK] token; from nothing, one whose tokenizers learn `texts`."""
    if config.checkpoint is None:
        return tiny_processor(config.tiny, texts)
    processor = _loaded(AutoProcessor, config.checkpoint)
    processor.tokenizer.add_special_tokens({"mask_token": MASK})
    return processor


def build_model(config: ModelConfig, processor: Any, seed: int, architecture: Path | None = None) -> M3L:
    """The model that trains: checkpoint or tiny, adapters in, the frozen parts frozen.

    New parts are drawn from the seed, so that all ranks start equal. With an `architecture`, a folder with the
    checkpoint's configuration, all weights are new ones, to be filled. Raises ConfigError for a missing checkpoint.
    """
    torch.manual_seed(seed)
    if config.checkpoint is None:
        model = tiny_model(config.tiny, processor, seed=seed, **own_parts(config))
    elif architecture:
        settings = M3LConfig.from_pretrained(architecture, **own_parts(config))
        model = untied(M3L._from_config(settings, dtype=getattr(torch, config.dtype)))
    else:
        model = _from_checkpoint(config, processor)
    return prepared(model, config)


def prepared(model: M3L, config: ModelConfig) -> M3L:
    """The model with its frozen parts frozen, its adapters in, and what trains in full precision."""
    model.vision_model.requires_grad_(config.checkpoint is None or config.train_vision)
    if config.lora:
        adapt(model, config.lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def own_parts(config: ModelConfig) -> dict[str, int]:
    """The sizes of what M3L adds to InstructBLIP."""
    return {
        "tformer_layers": config.tformer_layers,
        "head_hidden": config.head_hidden,
        "history_numbers": NUMBERS if config.history else 0,
    }


def untied(model: M3L) -> M3L:
    """The model with a head of its own: Flan-T5's is no copy of its embeddings, though transformers 5 calls it tied.

    Resizing the embeddings, or filling a new model, would else overwrite one with the other.
    """
    if not model.config.use_decoder_only_language_model:
        language = model.language_model
        model.config.text_config.tie_word_embeddings = language.config.tie_word_embeddings = False
        if language.lm_head.weight is language.get_input_embeddings().weight:
            language.lm_head.weight = nn.Parameter(language.lm_head.weight.detach().clone())
    return model


def is_local(checkpoint: str) -> bool:
    """Whether a checkpoint is a folder of one's own, local or `s3://`, and no name on a hub."""
    return "://" in checkpoint or Path(checkpoint).is_dir()


def _from_checkpoint(config: ModelConfig, processor: Any) -> M3L:
    dtype = getattr(torch, config.dtype)
    # Safetensors alone: another format could run code.
    model = untied(_loaded(M3L, config.checkpoint, dtype=dtype, use_safetensors=True, **own_parts(config)))
    rows = model.get_input_embeddings().weight.shape[0]
    if len(processor.tokenizer) > rows:
        model.resize_token_embeddings(len(processor.tokenizer))
    model.config.mask_token_id = processor.tokenizer.convert_tokens_to_ids(MASK)
    model.config.image_token_id = processor.tokenizer.convert_tokens_to_ids("<image>")
    return model


def _loaded(kind: Any, checkpoint: str | None, **settings: Any) -> Any:
    try:
        return kind.from_pretrained(_here(checkpoint or ""), **settings)
    except OSError as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(
            f"model.checkpoint: cannot load {checkpoint!r}: give a directory or hub name ({reason})"
        ) from None


@lru_cache(maxsize=1)
def _here(checkpoint: str) -> str:
    return str(storage.fetched(checkpoint)) if "://" in checkpoint else checkpoint
