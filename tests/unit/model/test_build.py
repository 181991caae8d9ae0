"""Which model is built from a configuration, and which of its parts are trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import InstructBlipForConditionalGeneration

from m3l.config import ConfigError, LoraSettings, ModelConfig
from m3l.model.build import build_model, build_processor
from m3l.model.m3l import M3L
from tests.support.models import write_plain
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, example, make_collator

LORA = TINY.model.model_copy(update={"lora": LoraSettings(rank=2, alpha=4, dropout=0.0)})
POSTS = [example(0, frames=2), example(1), example(2, frames=0)]
TRAINED_PARTS = ("query_tokens", "qformer.", "tformer.", "language_projection.", "likes_head.")


def step(model: M3L, processor: Any) -> None:
    """One optimiser step on the losses of both tasks."""
    collator = make_collator(processor)
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    causal = model.config.use_decoder_only_language_model
    for task in (CONTENT, BEHAVIOUR):
        model(**collator.collate(POSTS, task, causal), **collator.media(POSTS, task)).loss.backward()
    optimiser.step()


def weights(model: M3L) -> dict[str, torch.Tensor]:
    """Copies of the parameters, by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module", params=["llama", "t5"])
def checkpoint(request: pytest.FixtureRequest, model: M3L, processor: Any, tmp_path_factory) -> Path:
    """A plain InstructBLIP with either kind of language model."""
    return write_plain(tmp_path_factory.mktemp(request.param), request.param, model, processor)


def settings(checkpoint: Path, **changes: object) -> ModelConfig:
    """The settings of `TINY` with a checkpoint."""
    return TINY.model.model_copy(update={"checkpoint": str(checkpoint), **changes})


def test_with_lora_only_adapters_of_the_language_model_are_trained(processor: Any) -> None:
    model = build_model(LORA, processor, seed=0)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    language = {name for name in trained if name.startswith("language_model.")}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in language)
    layers = TINY.model.tiny.text_layers
    assert len(language) == layers * 7 * 2 + 1
    others = {name for name, _ in model.named_parameters() if not name.startswith("language_model.")}
    assert trained - language == others  # including the ViT, which is randomly initialised
    before = weights(model)
    step(model, processor)
    after = weights(model)
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed <= trained
    assert all(any(name.startswith(part) for name in changed) for part in (*TRAINED_PARTS, "vision_model.", *language))


def test_with_lora_only_the_embedding_of_mask_is_trained(processor: Any) -> None:
    model = build_model(LORA, processor, seed=0)
    ids = torch.arange(len(processor.tokenizer))
    before = model.get_input_embeddings()(ids).detach().clone()
    step(model, processor)
    changed = (model.get_input_embeddings()(ids) != before).any(1).nonzero().flatten().tolist()
    assert changed == [processor.tokenizer.mask_token_id]


def test_without_lora_all_parameters_are_trained(processor: Any) -> None:
    assert all(p.requires_grad for p in build_model(TINY.model, processor, seed=0).parameters())


def test_the_same_texts_give_the_same_vocabularies() -> None:
    texts = [
        f"{first} sees {second} {number}" for number, (first, second) in enumerate(zip("abcdef", "fedcba", strict=True))
    ]
    one, other = (build_processor(TINY.model, texts) for _ in range(2))
    for name in ("tokenizer", "qformer_tokenizer"):
        assert getattr(one, name).get_vocab() == getattr(other, name).get_vocab()


def test_equal_seeds_give_equal_weights(processor: Any) -> None:
    one, two, other = (weights(build_model(LORA, processor, seed)) for seed in (1, 1, 2))
    assert all((one[name] == two[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


def test_a_checkpoint_of_plain_transformers_loads(checkpoint: Path) -> None:
    plain = InstructBlipForConditionalGeneration.from_pretrained(checkpoint).eval()
    config = settings(checkpoint)
    processor = build_processor(config)
    rows = len(processor.tokenizer)
    model = build_model(config, processor, seed=0).eval()
    assert rows == plain.config.text_config.vocab_size + 1
    assert model.get_input_embeddings().weight.shape[0] == rows
    assert model.config.mask_token_id == processor.tokenizer.mask_token_id == rows - 1
    assert model.config.image_token_id == plain.config.image_token_id
    assert not torch.equal(plain.language_model.lm_head.weight, plain.get_input_embeddings().weight)
    torch.testing.assert_close(model.language_model.lm_head.weight[:-1], plain.language_model.lm_head.weight)
    torch.testing.assert_close(model.get_input_embeddings().weight[:-1], plain.get_input_embeddings().weight)
    media = make_collator(processor).media([example(0)], CONTENT)
    with torch.no_grad():
        expected = plain.get_image_features(
            media["pixel_values"][:, 0],
            qformer_input_ids=media["qformer_input_ids"],
            qformer_attention_mask=media["qformer_attention_mask"],
        ).pooler_output
        assert (model.encode_media(**media) == expected).all()


def test_a_checkpoints_vit_is_frozen_and_trained_parameters_are_float32(checkpoint: Path) -> None:
    config = settings(checkpoint, lora=LORA.lora, dtype="bfloat16")
    processor = build_processor(config)
    model = build_model(config, processor, seed=0)
    assert not any(p.requires_grad for p in model.vision_model.parameters())
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.vision_model.parameters()} == {torch.bfloat16}
    before = weights(model)
    step(model, processor)
    changed = {name for name, p in model.named_parameters() if (p != before[name]).any()}
    assert all(any(name.startswith(part) for name in changed) for part in TRAINED_PARTS)
    assert {name for name in before if not dict(model.named_parameters())[name].requires_grad}.isdisjoint(changed)
    collator = make_collator(processor)
    prompts, media = collator.prompts(POSTS, CONTENT), collator.media(POSTS, CONTENT)
    new_tokens = model.eval().generate(**prompts, media=media, max_new_tokens=3, do_sample=False)
    assert len(new_tokens) == len(POSTS)


def test_train_vision_trains_the_vit_of_a_checkpoint(checkpoint: Path) -> None:
    config = settings(checkpoint, lora=LORA.lora, dtype="bfloat16", train_vision=True)
    processor = build_processor(config)
    model = build_model(config, processor, seed=0)
    assert {p.dtype for p in model.vision_model.parameters() if p.requires_grad} == {torch.float32}
    before = weights(model)
    step(model, processor)
    moved = [name for name, p in model.vision_model.named_parameters() if (p != before[f"vision_model.{name}"]).any()]
    assert len(moved) > 10


@pytest.mark.parametrize("make", [lambda c: build_processor(c), lambda c: build_model(c, None, 0)])
def test_a_missing_checkpoint_is_an_error_of_one_line(tmp_path: Path, make: Any) -> None:
    with pytest.raises(ConfigError, match=r"^model\.checkpoint: cannot load .*give a directory or hub name") as caught:
        make(settings(tmp_path / "absent"))
    assert "\n" not in str(caught.value)
