"""A bundle gives back what was saved, and refuses what could run code."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

from m3l import bundle
from m3l.batch import LikesScale
from m3l.config import ClipConfig, Config, ConfigError, LoraSettings
from m3l.model.build import build_model, build_processor
from m3l.model.modeling import M3L
from m3l.retriever.clip import Retriever

from .made import BEHAVIOUR, CONTENT, TINY, collator, example

SCALE = LikesScale(4.0, 1.25)
POSTS = [example(0, frames=3), example(1, frames=0), example(2)]


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(ClipConfig(tiny=True, pretrained=None), seed=0)


def saved(folder: Path, config: Config, model: M3L, processor: Any, retriever: Retriever) -> Path:
    bundle.save(folder, config, model, processor, SCALE, {"residual_std": 0.5, "accounts": ["maker"]})
    retriever.save(folder / "retriever")
    return folder


@torch.no_grad()
def answers(model: M3L, processor: Any) -> tuple[list[float], float, list[list[int]]]:
    """Likes, loss of the captions and greedy tokens."""
    made = collator(processor)
    likes, captions = (model(**made.training(POSTS, task), **made.media(POSTS, task)) for task in (BEHAVIOUR, CONTENT))
    asked = {**made.prompts(POSTS, CONTENT), "media": made.media(POSTS, CONTENT)}
    told = model.generate(**asked, max_new_tokens=5, do_sample=False, pad_token_id=0)
    return likes.likes.tolist(), captions.loss.item(), told.tolist()


def moved(model: M3L) -> M3L:
    """As after some training: every part that trains is another one."""
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(model: M3L, processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    plain = InstructBlipForConditionalGeneration(InstructBlipConfig.from_dict(model.config.to_dict()))
    plain.load_state_dict(model.state_dict(), strict=False)
    plain.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(processor: Any, retriever: Retriever, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny model."""
    model = build_model(TINY.model, processor, seed=0)
    return saved(tmp_path_factory.mktemp("bundle"), TINY, model, processor, retriever)


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)])
@pytest.mark.parametrize("from_checkpoint", [False, True])
def test_a_bundle_answers_as_what_was_saved(
    lora: LoraSettings | None,
    from_checkpoint: bool,
    processor: Any,
    retriever: Retriever,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    settings = {"lora": lora, "checkpoint": str(checkpoint) if from_checkpoint else None}
    config = TINY.model_copy(update={"model": TINY.model.model_copy(update=settings)})
    if from_checkpoint:
        processor = build_processor(config.model)
    model = moved(build_model(config.model, processor, seed=0))
    made = bundle.load(str(saved(tmp_path, config, model, processor, retriever)))
    assert answers(made.model, made.processor) == answers(model, processor)
    assert (made.config, made.scale, made.residual_std) == (config, SCALE, 0.5)
    assert not made.model.training
    assert made.accounts == {"maker"}


def test_what_a_checkpoint_provides_is_not_written_again(
    processor: Any, retriever: Retriever, checkpoint: Path, tmp_path: Path
) -> None:
    settings = {"lora": LoraSettings(rank=2), "checkpoint": str(checkpoint)}
    config = TINY.model_copy(update={"model": TINY.model.model_copy(update=settings)})
    saved(tmp_path, config, build_model(config.model, processor, seed=0), processor, retriever)
    written = bundle.load_file(tmp_path / bundle.WEIGHTS)
    assert not any(name.startswith("vision_model.") or "base_layer" in name for name in written)
    assert any(name.startswith("tformer.") for name in written)


def test_the_retriever_travels_along(folder: Path, retriever: Retriever) -> None:
    loaded = bundle.load(str(folder)).retriever
    assert (loaded.encode_text(["a red fox"]) == retriever.encode_text(["a red fox"])).all()


@pytest.mark.parametrize("name", ["retriever/weights.pkl", "processor/pytorch_model.bin", "extra.PT"])
def test_a_pickle_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder, tmp_path / "bundle")
    (tmp_path / "bundle" / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match="a bundle is safetensors only, a pickle can run code"):
        bundle.load(str(tmp_path / "bundle"))


def test_a_folder_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=r"is no bundle: it has no config\.yaml; `m3l train` writes one$"):
            bundle.load(str(name))


@pytest.mark.parametrize(
    ("field", "value", "named"), [("tformer_layers", 3, "tformer"), ("head_hidden", 8, "likes_head")]
)
def test_weights_of_another_configuration_are_refused(
    folder: Path, tmp_path: Path, field: str, value: int, named: str
) -> None:
    shutil.copytree(folder, tmp_path / "bundle")
    other = TINY.model_copy(update={"model": TINY.model.model_copy(update={field: value})})
    (tmp_path / "bundle" / bundle.CONFIG).write_text(other.to_yaml())
    with pytest.raises(ConfigError, match=rf"weights do not fit its config\.yaml \(.*{named}\.") as caught:
        bundle.load(str(tmp_path / "bundle"))
    assert "\n" not in str(caught.value)
