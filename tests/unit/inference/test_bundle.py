"""A bundle gives back what was saved, and refuses what could run code."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import InstructBlipForConditionalGeneration

from m3l.config import ClipConfig, Config, ConfigError, override
from m3l.inference import bundle
from m3l.inference.conformal import Intervals, widths
from m3l.inference.model_card import card
from m3l.inference.pickle_scan import pickles
from m3l.model.build import build_model, build_processor
from m3l.model.hf_export import export
from m3l.model.m3l import M3L
from m3l.prompts.collator import LikesScale
from m3l.retriever.clip import Retriever
from tests.support.instructblip import write_plain
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, collator, example

SCALE = LikesScale(4.0, 1.25)
INTERVALS = Intervals(known=widths(np.arange(30) / 30), cold_rows="hidden")
POSTS = [example(0, frames=3), example(1, frames=0), example(2)]


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(ClipConfig(tiny=True, pretrained=None), seed=0)


def saved(folder: Path, config: Config, model: M3L, processor: Any, retriever: Retriever) -> Path:
    bundle.save(folder, config, model, processor, SCALE, {"intervals": INTERVALS, "accounts": ["maker"]})
    retriever.save(folder / "retriever")
    return folder


@torch.no_grad()
def answers(model: M3L, processor: Any) -> tuple[list[float], float, list[list[int]]]:
    """Likes, loss of the captions and greedy tokens."""
    made = collator(processor)
    causal = model.config.use_decoder_only_language_model
    likes, captions = (
        model(**made.training(POSTS, task, causal), **made.media(POSTS, task)) for task in (BEHAVIOUR, CONTENT)
    )
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
def folder(processor: Any, retriever: Retriever, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny model."""
    model = build_model(TINY.model, processor, seed=0)
    return saved(tmp_path_factory.mktemp("bundle"), TINY, model, processor, retriever)


@pytest.mark.parametrize(
    ("kind", "place", "lora"),
    [(None, None, None), (None, None, 2), ("llama", "hub", 2), ("llama", "here", None), ("t5", "here", 2)],
)
def test_a_bundle_answers_as_what_was_saved(
    kind: Any,
    place: str | None,
    lora: int | None,
    model: M3L,
    processor: Any,
    retriever: Retriever,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = write_plain(tmp_path / "plain", kind, model, processor) if kind else None
    changes = {"lora": lora and {"rank": lora}, "checkpoint": checkpoint and str(checkpoint)}
    config = override(TINY, {f"model.{name}": value for name, value in changes.items()})
    if checkpoint:
        processor = build_processor(config.model)
    if place == "hub":
        monkeypatch.setattr(bundle, "is_local", lambda _: False)
    model = moved(build_model(config.model, processor, seed=0))
    folder = saved(tmp_path / "bundle", config, model, processor, retriever)
    written = bundle.load_file(folder / bundle.WEIGHTS)
    assert any(name.startswith("tformer.") for name in written)
    # What a hub provides is not written again; a folder of one's own goes in whole, and may then be gone.
    assert any(name.startswith("vision_model.") for name in written) is (place != "hub")
    if place == "here":
        shutil.rmtree(tmp_path / "plain")
    made = bundle.load(str(folder))
    assert answers(made.model, made.processor) == answers(model, processor)
    assert (made.config, made.scale, made.intervals) == (config, SCALE, INTERVALS)
    assert not made.model.training
    assert made.accounts == {"maker"}


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_an_exported_bundle_is_a_plain_checkpoint(kind: Any, model: M3L, processor: Any, tmp_path: Path) -> None:
    checkpoint = str(write_plain(tmp_path / "plain", kind, model, processor))
    config = override(TINY, {"model.lora": {"rank": 2}, "model.checkpoint": checkpoint, "model.dtype": "float32"})
    processor = build_processor(config.model)
    trained = moved(build_model(config.model, processor, seed=0))
    likes, loss, told = answers(trained, processor)
    export(trained, processor, config.model, tmp_path / "out")
    assert not list(pickles(tmp_path / "out"))

    bare = override(config, {"model.lora": None, "model.checkpoint": str(tmp_path / "out")}).model
    again = answers(build_model(bare, build_processor(bare), seed=1).eval(), processor)
    assert again[:2] == (pytest.approx(likes, abs=1e-4), pytest.approx(loss, abs=1e-4))
    assert again[2] == told
    plain, notes = InstructBlipForConditionalGeneration.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not notes["missing_keys"]
    assert {name.split(".")[0] for name in notes["unexpected_keys"]} == {"tformer", "likes_head"}
    assert not [name for name, _ in plain.named_parameters() if "lora" in name]


def test_the_card_tells_what_the_bundle_is(folder: Path) -> None:
    told = (folder / bundle.CARD).read_text()
    for part in (
        "configuration `tiny`",
        "of 1 accounts",
        "- `content`: masks `caption`",
        "| 30 | 0.5 | 0.8 | 0.967 |",
        "| known accounts whose names were hidden, each as one | 0 | - | - | - |",
        "cannot do",
    ):
        assert part in told
    facts = {"intervals": INTERVALS, "accounts": ["a", "b"], "train_posts": 1234, "written": "2026-01-01"}
    facts["metrics"] = {"validation_nll": 1.25}
    config = override(TINY, {"model.checkpoint": "hub/name", "model.lora": {"rank": 4}})
    told = card(config, facts)
    for part in (
        "1,234 posts of 2 accounts",
        "`hub/name`, whose licence",
        "LoRA of rank 4",
        "| validation_nll | 1.25 |",
    ):
        assert part in told


def test_the_retriever_travels_along(folder: Path, retriever: Retriever) -> None:
    loaded = bundle.load(str(folder)).retriever
    assert (loaded.encode_text(["a red fox"]) == retriever.encode_text(["a red fox"])).all()


@pytest.mark.parametrize("name", ["retriever/weights.pkl", "processor/pytorch_model.bin", "extra.PT", "notes.txt"])
def test_a_pickle_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder, tmp_path / "bundle")
    (tmp_path / "bundle" / name).write_bytes(pickle.dumps([1]) if name == "notes.txt" else b"x")
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
