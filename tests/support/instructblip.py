"""What a hub has: a plain InstructBLIP, tiny, with either kind of language model, and a processor without [MASK]."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, PreTrainedTokenizerFast, T5Config

from m3l.model.m3l import M3L


def write_plain(folder: Path, kind: Literal["llama", "t5"], model: M3L, processor: Any) -> Path:
    """A directory that plain transformers saved: the towers' sizes of `model`, a vocabulary full to the last row."""
    known = unmasked(processor)
    settings = {**model.config.to_dict(), "image_token_index": known.tokenizer.convert_tokens_to_ids("<image>")}
    if kind == "t5":
        text = T5Config(d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu")
        text.update({"initializer_factor": 0.1, "pad_token_id": 3, "eos_token_id": 2, "decoder_start_token_id": 3})
        settings["text_config"] = text.to_dict()
    settings["text_config"] |= {"vocab_size": len(known.tokenizer), "tie_word_embeddings": False}
    torch.manual_seed(0)
    plain = InstructBlipForConditionalGeneration(InstructBlipConfig.from_dict(settings))
    torch.nn.init.normal_(plain.query_tokens, std=0.02)
    head = torch.randn(plain.language_model.lm_head.weight.shape)
    plain.language_model.lm_head.weight = torch.nn.Parameter(head)  # as Flan-T5's: not the embeddings
    plain.save_pretrained(folder)
    known.save_pretrained(folder)
    return folder


def unmasked(processor: Any) -> Any:
    """A processor as a hub has it: it knows no [MASK]."""
    state = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in ("[MASK]", "<image>")]
    special = {f"{name}_token": getattr(processor.tokenizer, f"{name}_token") for name in ("bos", "eos", "unk", "pad")}
    text = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **special)
    queries = processor.num_query_tokens
    return type(processor)(processor.image_processor, text, processor.qformer_tokenizer, num_query_tokens=queries)
