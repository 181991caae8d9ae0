"""A loaded bundle predicts like the saved one; a folder that could run code is refused."""

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
from m3l.inference.conformal import Intervals, half_widths
from m3l.inference.model_card import model_card
from m3l.inference.pickle_scan import find_pickles
from m3l.model.build import build_model, build_processor
from m3l.model.hf_export import export_checkpoint
from m3l.model.m3l import M3L
from m3l.prompts.collator import LikesScale
from m3l.retriever.clip import Retriever
from tests.support.models import write_plain
from tests.support.posts import BEHAVIOUR, CONTENT, TINY, example, make_collator

SCALE = LikesScale(4.0, 1.25)
INTERVALS = Intervals(known=half_widths(np.arange(30) / 30), cold_rows="hidden")
POSTS = [example(0, frames=3), example(1, frames=0), example(2)]


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(ClipConfig(tiny=True, pretrained=None), seed=0)


def saved(folder: Path, config: Config, model: M3L, processor: Any, retriever: Retriever) -> Path:
    bundle.save(folder, config, model, processor, SCALE, {"intervals": INTERVALS, "accounts": ["maker"]})
    retriever.save(folder / "retriever")
    return folder


@torch.no_grad()
def predictions(model: M3L, processor: Any) -> tuple[list[float], float, list[list[int]]]:
    """Predicted likes, loss of the captions, and tokens of greedy decoding."""
    collate = make_collator(processor)
    causal = model.config.use_decoder_only_language_model
    likes, captions = (
        model(**collate.collate(POSTS, task, causal), **collate.media(POSTS, task)) for task in (BEHAVIOUR, CONTENT)
    )
    prompts = {**collate.prompts(POSTS, CONTENT), "media": collate.media(POSTS, CONTENT)}
    tokens = model.generate(**prompts, max_new_tokens=5, do_sample=False, pad_token_id=0)
    return likes.likes.tolist(), captions.loss.item(), tokens.tolist()


def perturb(model: M3L) -> M3L:
    """The model with every trainable parameter changed, as after some training."""
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
    ("kind", "source", "lora"),
    [(None, None, None), (None, None, 2), ("llama", "hub", 2), ("llama", "local", None), ("t5", "local", 2)],
)
def test_a_loaded_bundle_predicts_like_the_saved_one(
    kind: Any,
    source: str | None,
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
    if source == "hub":
        monkeypatch.setattr(bundle, "is_local", lambda _: False)
    model = perturb(build_model(config.model, processor, seed=0))
    folder = saved(tmp_path / "bundle", config, model, processor, retriever)
    written = bundle.load_file(folder / bundle.WEIGHTS)
    assert any(name.startswith("tformer.") for name in written)
    # Frozen weights of the Hub are not saved again; a local checkpoint is saved in full and may then be deleted.
    assert any(name.startswith("vision_model.") for name in written) is (source != "hub")
    if source == "local":
        shutil.rmtree(tmp_path / "plain")
    loaded = bundle.load(str(folder))
    assert predictions(loaded.model, loaded.processor) == predictions(model, processor)
    assert (loaded.config, loaded.scale, loaded.intervals) == (config, SCALE, INTERVALS)
    assert not loaded.model.training
    assert loaded.accounts == {"maker"}


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_an_exported_bundle_is_a_plain_checkpoint(kind: Any, model: M3L, processor: Any, tmp_path: Path) -> None:
    checkpoint = str(write_plain(tmp_path / "plain", kind, model, processor))
    config = override(TINY, {"model.lora": {"rank": 2}, "model.checkpoint": checkpoint, "model.dtype": "float32"})
    processor = build_processor(config.model)
    trained = perturb(build_model(config.model, processor, seed=0))
    likes, loss, tokens = predictions(trained, processor)
    export_checkpoint(trained, processor, config.model, tmp_path / "out")
    assert not list(find_pickles(tmp_path / "out"))

    bare = override(config, {"model.lora": None, "model.checkpoint": str(tmp_path / "out")}).model
    again = predictions(build_model(bare, build_processor(bare), seed=1).eval(), processor)
    assert again[:2] == (pytest.approx(likes, abs=1e-4), pytest.approx(loss, abs=1e-4))
    assert again[2] == tokens
    plain, notes = InstructBlipForConditionalGeneration.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not notes["missing_keys"]
    assert {name.split(".")[0] for name in notes["unexpected_keys"]} == {"tformer", "likes_head"}
    assert not [name for name, _ in plain.named_parameters() if "lora" in name]


def test_the_model_card_describes_the_bundle(folder: Path) -> None:
    text = (folder / bundle.MODEL_CARD).read_text()
    for part in (
        "configuration `tiny`",
        "from 1 accounts",
        "- `content`: `caption` is masked",
        "| 30 | 0.5 | 0.8 | 0.967 |",
        "| New accounts (calibrated on known accounts with the name removed) | 0 | - | - | - |",
        "## Limitations",
        "randomly initialised",
    ):
        assert part in text
    metadata = {"intervals": INTERVALS, "accounts": ["a", "b"], "train_posts": 1234, "written": "2026-01-01"}
    metadata["metrics"] = {"validation_nll": 1.25}
    config = override(TINY, {"model.checkpoint": "hub/name", "model.lora": {"rank": 4}})
    text = model_card(config, metadata)
    for part in (
        "1,234 posts from 2 accounts",
        "`hub/name`, whose licence",
        "LoRA of rank 4",
        "| validation_nll | 1.25 |",
    ):
        assert part in text


def test_the_retriever_is_part_of_the_bundle(folder: Path, retriever: Retriever) -> None:
    loaded = bundle.load(str(folder)).retriever
    assert (loaded.encode_text(["a red fox"]) == retriever.encode_text(["a red fox"])).all()


@pytest.mark.parametrize("name", ["retriever/weights.pkl", "processor/pytorch_model.bin", "extra.PT", "notes.txt"])
def test_a_pickle_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder, tmp_path / "bundle")
    (tmp_path / "bundle" / name).write_bytes(pickle.dumps([1]) if name == "notes.txt" else b"x")
    with pytest.raises(ConfigError, match="a bundle is safetensors only, a pickle can run code"):
        bundle.load(str(tmp_path / "bundle"))


def test_a_folder_that_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=r"is not a bundle: it has no config\.yaml; `m3l train` writes one$"):
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
