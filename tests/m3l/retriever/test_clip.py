"""The towers: what is saved comes back, what is missing is told in one line."""

import huggingface_hub
import open_clip
import pytest
import torch
from PIL import Image

from m3l.config import ClipConfig, ConfigError
from m3l.retriever.adapt import adapted, merged
from m3l.retriever.clip import Retriever

from ..made import jpeg
from .pictures import TINY

TEXTS = ["a red fox runs", "the sea"]


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return Retriever.build(TINY, seed=0)


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
    again, other = Retriever.build(TINY, seed=0), Retriever.build(TINY, seed=1)
    assert torch.equal(retriever.encode_text(TEXTS), again.encode_text(TEXTS))
    assert not torch.equal(retriever.encode_text(TEXTS), other.encode_text(TEXTS))


def test_a_saved_retriever_answers_exactly_the_same(retriever, tmp_path):
    retriever.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", "retriever.json"}
    for loaded in (
        Retriever.load(tmp_path),
        Retriever.build(ClipConfig(pretrained=str(tmp_path)), seed=3),
    ):
        assert torch.equal(loaded.encode_text(TEXTS), retriever.encode_text(TEXTS))
        assert torch.equal(loaded.encode_images([jpeg(0)]), retriever.encode_images([jpeg(0)]))


def test_frames_are_prepared_as_open_clip_does_it(vit, tmp_path):
    (tmp_path / "frame.jpg").write_bytes(jpeg(0))
    config = open_clip.transform.PreprocessCfg(size=32)
    theirs = open_clip.transform.image_transform_v2(config, is_train=False)(Image.open(tmp_path / "frame.jpg"))
    ours = vit.preprocess.normalised(vit.preprocess([jpeg(0)]))[0]
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("config", [TINY.model_copy(update={"tiny": False, "name": "ViT-B-32", "pretrained": tag})
                                    for tag in ("laion2b_s34b_b79k", "nowhere/weights.pt")])  # fmt: skip
def test_missing_weights_are_one_line_that_names_the_fix(config, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"retriever\.clip\.pretrained.*retriever\.clip\.tiny=true") as raised:
        Retriever.build(config, seed=0)
    assert "\n" not in str(raised.value)


def test_an_empty_folder_holds_no_retriever(tmp_path):
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
def test_a_part_of_the_towers_learns_and_is_saved_as_a_plain_clip(vit, how, tmp_path):
    vit.save(tmp_path / "before")
    learner = adapted(Retriever.load(tmp_path / "before"), how)
    learning = [p for p in learner.parameters() if p.requires_grad]
    assert sum(p.numel() for p in learning) < sum(p.numel() for p in vit.parameters()) / 10
    for parameter in learning:
        parameter.data += 0.05 * torch.randn_like(parameter)
    told = learner.encode_text(TEXTS)
    assert not torch.allclose(told, vit.encode_text(TEXTS), atol=1e-3)
    merged(learner).save(tmp_path / "after")
    assert torch.allclose(Retriever.load(tmp_path / "after").encode_text(TEXTS), told, atol=1e-5)
