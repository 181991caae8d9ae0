"""CLIP (Radford et al. 2021, arXiv 2103.00020) through open_clip, with a learned bias for BCE."""

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, Int, UInt8
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import VisionTransformer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m3l.config import ClipConfig, ConfigError
from m3l.retriever.preprocess import Preprocess

Similarity = Literal["scaled_cosine", "dot"]

WEIGHTS, SETTINGS = "model.safetensors", "retriever.json"
EMBED_BATCH = 256  # frames or texts per forward pass without gradients: bounds memory
MAX_SCALE = 100.0  # CLIP's own bound on exp(logit_scale)

# A residual network, not a ViT: randomly initialised, it separates drawings after steps in which a ViT learns nothing.
TINY = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 3, "layers": 2},
}
TINY_PIXELS = {"size": 64, "interpolation": "bilinear", "resize_mode": "squash"}


class Retriever(nn.Module):
    """A CLIP model with its preprocessing: embeds texts and frames so that matching ones are similar.

    Args:
        architecture: open_clip's `model_cfg`; the weights are randomly initialised.
        pixels: open_clip's `preprocess_cfg`.
        similarity: Cosine times CLIP's learned scale, or the bare dot product of DPR.
    """

    def __init__(self, architecture: dict[str, Any], pixels: dict[str, Any], similarity: Similarity):
        super().__init__()
        self.settings: dict[str, Any] = {"architecture": architecture, "pixels": pixels, "similarity": similarity}
        parts = deepcopy(architecture)
        kind = CustomTextCLIP if parts.pop("custom_text", False) else CLIP
        self.clip = kind(**parts)
        self.bias = nn.Parameter(torch.zeros(()))  # of BCE: with a scale alone, p < 1/2 would need an obtuse angle
        self.dtype = torch.float32  # of the towers
        self.preprocess = Preprocess(pixels)
        self._tokenize = open_clip.SimpleTokenizer(context_length=self.clip.context_length)

    @classmethod
    def build(cls, config: ClipConfig, seed: int, similarity: Similarity = "scaled_cosine") -> "Retriever":
        """The CLIP that a configuration names, in evaluation mode.

        Args:
            config: `pretrained` is one of open_clip's tags, a file of weights, or the folder of a saved Retriever or
                of an open_clip model; None: randomly initialised.
            seed: Of the random weights.
            similarity: See the class.

        Raises:
            ConfigError: The model or its weights are not available; one line that names the fix.
        """
        torch.manual_seed(seed)
        if config.tiny:
            return cls(TINY, TINY_PIXELS, similarity).eval()
        folder = Path(config.pretrained) if config.pretrained and Path(config.pretrained).is_dir() else None
        if folder and (folder / SETTINGS).is_file():
            return cls.load(folder)
        architecture = _architecture(config.name, folder)
        try:
            name, weights = (f"local-dir:{folder}", None) if folder else (config.name, config.pretrained)
            # Unless weights are required, open_clip silently initialises at random where it finds none.
            loaded = open_clip.create_model(name, weights, require_pretrained=config.pretrained is not None)
        except Exception as error:  # open_clip and the hub raise many kinds
            raise _missing_weights(config, " ".join(str(error).split())) from None
        retriever = cls(architecture, loaded.visual.preprocess_cfg, similarity)
        retriever.clip.load_state_dict(loaded.state_dict())
        return retriever.eval()

    def save(self, folder: Path | str) -> None:
        """Write the weights (safetensors) and the architecture (JSON) into a local folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, target / WEIGHTS)
        (target / SETTINGS).write_text(json.dumps(self.settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path | str) -> "Retriever":
        """A saved Retriever, in evaluation mode; ConfigError if the folder holds none."""
        source = Path(folder)
        for name in (SETTINGS, WEIGHTS):
            if not (source / name).is_file():
                raise ConfigError(f"{source} holds no retriever ({name} is missing): run `m3l train-retriever` first")
        retriever = cls(**json.loads((source / SETTINGS).read_text()))
        retriever.load_state_dict(load_file(source / WEIGHTS))
        return retriever.eval()

    def freeze_for_inference(self) -> "Retriever":
        """Freeze in place for embedding; vision transformers run in bfloat16 where the device supports it.

        Embeddings and similarities stay float32. Small convolutions would gain nothing from bfloat16.
        """
        self.eval().requires_grad_(False)
        if isinstance(self.clip.visual, VisionTransformer) and supports_bfloat16(self.device):
            scale = self.clip.logit_scale.data
            self.clip.to(torch.bfloat16)
            self.clip.logit_scale.data = scale
            self.dtype = torch.bfloat16
        return self

    @property
    def device(self) -> torch.device:
        return self.bias.device

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "n context"]:
        """BPE tokens of texts, on the CPU, truncated to the context length."""
        return self._tokenize(list(texts))

    def embed_tokens(self, tokens: Int[Tensor, "n context"]) -> Float[Tensor, "n dim"]:
        """Embeddings of tokenized texts, with gradient; of unit length unless the similarity is the dot product."""
        return self._normalized(self.clip.encode_text(tokens.to(self.device)))

    def embed_pixels(self, pixels: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Embeddings of preprocessed frames, with gradient."""
        return self._normalized(
            self.clip.encode_image(self.preprocess.normalize(pixels.to(self.device)).to(self.dtype))
        )

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Embeddings of texts, without gradient."""
        parts = self.tokenize(texts).split(EMBED_BATCH) if texts else ()
        return self._concatenated([self.embed_tokens(part) for part in parts])

    @torch.inference_mode()
    def encode_images(self, images: Sequence[bytes]) -> Float[Tensor, "n dim"]:
        """Embeddings of encoded (JPEG) frames, without gradient."""
        starts = range(0, len(images), EMBED_BATCH)  # decoded as they are needed
        return self._concatenated([self.embed_pixels(self.preprocess(images[at : at + EMBED_BATCH])) for at in starts])

    @torch.inference_mode()
    def encode_pixels(self, pixels: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Embeddings of preprocessed frames, without gradient."""
        return self._concatenated([self.embed_pixels(part) for part in pixels.split(EMBED_BATCH)])

    def image_embeddings(self, images: Sequence[bytes]) -> Float16[np.ndarray, "n dim"]:
        """Embeddings of encoded frames for storage, in float16, which changes a cosine by less than 0.001."""
        return self.encode_images(images).cpu().half().numpy()

    def query_embeddings(self, texts: Sequence[str]) -> Float16[np.ndarray, "n dim"]:
        """Embeddings of texts for storage, multiplied by the scale: a dot product with a frame is their similarity."""
        return (self.encode_text(texts) * self.scale.detach()).cpu().half().numpy()

    @property
    def scale(self) -> Float[Tensor, ""]:
        """Factor from the dot product of two embeddings to their similarity."""
        if self.settings["similarity"] == "dot":
            return torch.ones((), device=self.device)
        return self.clip.logit_scale.exp().clamp(max=MAX_SCALE)

    def similarity(
        self, queries: Float[Tensor, "*rows dim"], frames: Float[Tensor, "*columns dim"]
    ) -> Float[Tensor, "..."]:
        """Similarity of every query with every frame: scaled cosine, or the dot product."""
        return torch.tensordot(queries, frames, dims=([-1], [-1])) * self.scale

    def _normalized(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        return features.float() if self.settings["similarity"] == "dot" else F.normalize(features.float(), dim=-1)

    def _concatenated(self, parts: list[Tensor]) -> Float[Tensor, "n dim"]:
        return torch.cat(parts) if parts else torch.zeros(0, self.settings["architecture"]["embed_dim"])


def supports_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16, which is then several times faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _architecture(name: str, folder: Path | None) -> dict[str, Any]:
    """open_clip's `model_cfg` of a name or of a local folder; ConfigError if it cannot be used here."""
    local = folder and folder / "open_clip_config.json"
    if local and not local.is_file():
        raise ConfigError(f"retriever.clip.pretrained: {folder} holds neither {SETTINGS} nor {local.name}")
    model_cfg = json.loads(local.read_text())["model_cfg"] if local else open_clip.get_model_config(name)
    if model_cfg is None:
        raise ConfigError(f"retriever.clip.name: open_clip has no model {name!r}; try ViT-B-32")
    if "hf_tokenizer_name" in model_cfg["text_cfg"] or "multimodal_cfg" in model_cfg:
        raise ConfigError(f"retriever.clip.name: {name} is not a plain CLIP with CLIP's own tokenizer; try ViT-B-32")
    return deepcopy(model_cfg)


def _missing_weights(config: ClipConfig, reason: str) -> ConfigError:
    return ConfigError(
        f"retriever.clip.pretrained: no weights {config.pretrained!r} for {config.name} ({reason[:120]}): name a file "
        "or a folder of weights, or set retriever.clip.tiny=true"
    )
