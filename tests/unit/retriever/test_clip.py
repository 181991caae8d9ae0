"""CLIP: embeddings, saving and loading, and one-line errors for missing weights."""

import json
from copy import deepcopy

import huggingface_hub
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from m3l.config import ClipConfig, ConfigError
from m3l.retriever import clip
from m3l.retriever.clip import Retriever
from m3l.retriever.trainable import merge_lora, set_trainable
from tests.support.posts import jpeg
from tests.support.retrievers import CLIP

TEXTS = ["a red fox runs", "the sea"]


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(CLIP, seed=0)


@pytest.fixture(scope="module")
def vit() -> Retriever:
    """A small ViT, as the public CLIPs are."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    architecture = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    return Retriever(architecture, {"size": 32}, "scaled_cosine").eval()


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(retriever):
    images = [jpeg(i) for i in range(5)]
    together = retriever.encode_images(images)
    assert torch.allclose(together.norm(dim=-1), torch.ones(5), atol=1e-5)
    assert torch.allclose(together[3:4], retriever.encode_images(images[3:4]), atol=1e-5)
    assert retriever.encode_images([]).shape == (0, together.shape[1])
    assert retriever.encode_text([]).shape == (0, together.shape[1])


def test_the_same_seed_gives_the_same_weights(retriever):
    again, other = Retriever.build(CLIP, seed=0), Retriever.build(CLIP, seed=1)
    assert torch.equal(retriever.encode_text(TEXTS), again.encode_text(TEXTS))
    assert not torch.equal(retriever.encode_text(TEXTS), other.encode_text(TEXTS))


def test_a_saved_retriever_gives_exactly_the_same_embeddings(retriever, tmp_path):
    retriever.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", "retriever.json"}
    for loaded in (
        Retriever.load(tmp_path),
        Retriever.build(ClipConfig(pretrained=str(tmp_path)), seed=3),
    ):
        assert torch.equal(loaded.encode_text(TEXTS), retriever.encode_text(TEXTS))
        assert torch.equal(loaded.encode_images([jpeg(0)]), retriever.encode_images([jpeg(0)]))


def test_frames_are_preprocessed_as_by_open_clip(vit, tmp_path):
    (tmp_path / "frame.jpg").write_bytes(jpeg(0))
    config = open_clip.transform.PreprocessCfg(size=32)
    theirs = open_clip.transform.image_transform_v2(config, is_train=False)(Image.open(tmp_path / "frame.jpg"))
    ours = vit.preprocess.normalize(vit.preprocess([jpeg(0)]))[0]
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("config", [CLIP.model_copy(update={"tiny": False, "name": "ViT-B-32", "pretrained": tag})
                                    for tag in ("laion2b_s34b_b79k", "nowhere/weights.pt")])  # fmt: skip
def test_missing_weights_give_one_line_that_names_the_fix(config, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"retriever\.clip\.pretrained.*retriever\.clip\.tiny=true") as raised:
        Retriever.build(config, seed=0)
    assert "\n" not in str(raised.value)


@pytest.fixture
def folder(vit, tmp_path):
    """A folder in the format of open_clip and the hub: settings and weights."""
    settings = {"model_cfg": vit.settings["architecture"], "preprocess_cfg": {"size": 32, "resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(settings))
    save_file(vit.clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    return tmp_path


def test_an_open_clip_folder_and_a_file_of_weights_are_loaded(vit, folder):
    loaded = Retriever.build(ClipConfig(pretrained=str(folder)), seed=3)
    assert loaded.settings["pixels"]["resize_mode"] == "squash"
    (folder / "small-vit.json").write_text(json.dumps(vit.settings["architecture"]))
    open_clip.add_model_config(folder / "small-vit.json")
    weights = str(folder / "open_clip_model.safetensors")
    named = Retriever.build(ClipConfig(name="small-vit", pretrained=weights), seed=4)
    for retriever in (loaded, named):
        assert torch.equal(retriever.encode_text(TEXTS), vit.encode_text(TEXTS))
    loaded.save(folder / "saved")
    again = Retriever.build(ClipConfig(pretrained=str(folder / "saved")), seed=5)
    assert torch.equal(again.encode_images([jpeg(0)]), loaded.encode_images([jpeg(0)]))
    random = Retriever.build(ClipConfig(name="small-vit", pretrained=None), seed=4)
    assert not torch.equal(random.encode_text(TEXTS), vit.encode_text(TEXTS))


@pytest.mark.parametrize(("missing", "message"), [("open_clip_config.json", "holds neither"),
                                            ("open_clip_model.safetensors", "no weights"),
                                            (None, "has no model 'ViT-Z'")])  # fmt: skip
def test_a_missing_checkpoint_gives_one_clear_line(folder, missing, message):
    if missing:
        (folder / missing).unlink()
    config = ClipConfig(pretrained=str(folder)) if missing else ClipConfig(name="ViT-Z", pretrained=None)
    with pytest.raises(ConfigError, match=rf"^retriever\.clip\.\w+: .*{message}.*$") as raised:
        Retriever.build(config, seed=0)
    assert "\n" not in str(raised.value)


def test_frozen_towers_in_bfloat16_give_almost_the_same_embeddings_in_float32(vit, retriever, tmp_path, monkeypatch):
    monkeypatch.setattr(clip, "supports_bfloat16", lambda device: True)
    vit.save(tmp_path)
    frozen = Retriever.load(tmp_path).freeze_for_inference()
    assert {p.dtype for name, p in frozen.clip.named_parameters() if name != "logit_scale"} == {torch.bfloat16}
    texts, images = frozen.encode_text(TEXTS), frozen.encode_images([jpeg(i) for i in range(3)])
    assert texts.dtype == images.dtype == frozen.similarity(texts, images).dtype == torch.float32
    assert torch.equal(frozen.scale, vit.scale)
    for ours, theirs in ((texts, vit.encode_text(TEXTS)), (images, vit.encode_images([jpeg(i) for i in range(3)]))):
        assert torch.cosine_similarity(ours, theirs).min() > 0.999
    assert deepcopy(retriever).freeze_for_inference().dtype == torch.float32  # convolutions gain nothing


def test_loading_an_empty_folder_names_the_fix(tmp_path):
    with pytest.raises(ConfigError, match="train-retriever"):
        Retriever.load(tmp_path)


def test_the_bare_dot_product_is_not_scaled(vit):
    bare = Retriever(vit.settings["architecture"], vit.settings["pixels"], "dot").eval()
    bare.load_state_dict(vit.state_dict())
    queries, frames = bare.encode_text(TEXTS), bare.encode_images([jpeg(0)])
    assert torch.allclose(bare.similarity(queries, frames), queries @ frames.T)
    cosine = vit.similarity(vit.encode_text(TEXTS), vit.encode_images([jpeg(0)])) / vit.clip.logit_scale.exp()
    assert torch.allclose(cosine, torch.cosine_similarity(queries, frames)[:, None], atol=1e-5)


@pytest.mark.parametrize("how", ["projections", "lora"])
def test_a_partly_trained_clip_is_saved_as_a_plain_clip(vit, how, tmp_path):
    vit.save(tmp_path / "before")
    trained = set_trainable(Retriever.load(tmp_path / "before"), how)
    parameters = [p for p in trained.parameters() if p.requires_grad]
    assert sum(p.numel() for p in parameters) < sum(p.numel() for p in vit.parameters()) / 10
    for parameter in parameters:
        parameter.data += 0.05 * torch.randn_like(parameter)
    expected = trained.encode_text(TEXTS)
    assert not torch.allclose(expected, vit.encode_text(TEXTS), atol=1e-3)
    merge_lora(trained).save(tmp_path / "after")
    assert torch.allclose(Retriever.load(tmp_path / "after").encode_text(TEXTS), expected, atol=1e-5)
