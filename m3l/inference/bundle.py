"""The bundle: one folder with weights (safetensors), processor, retriever, configuration, scale and model card."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import InstructBlipProcessor

from m3l.config import Config, ConfigError, parse
from m3l.data import storage
from m3l.history.timeline import Memory
from m3l.inference.conformal import Intervals
from m3l.inference.model_card import card
from m3l.inference.pickle_scan import pickles
from m3l.model.build import build_model, is_local
from m3l.model.m3l import M3L
from m3l.prompts.collator import LikesScale
from m3l.retriever.clip import Retriever

WEIGHTS, CONFIG, FACTS, CARD = "model.safetensors", "config.yaml", "bundle.json", "MODEL_CARD.md"
HISTORY = "history"  # the timelines of the accounts that it knows
ARCHITECTURE = "architecture"  # the checkpoint's own configuration, where the bundle does without the checkpoint


@dataclass
class Bundle:
    """A trained model with all that it needs to answer."""

    config: Config
    model: M3L
    processor: Any
    scale: LikesScale
    retriever: Retriever | None  # None: it reads no media, or whoever asks has chosen the frames already
    intervals: Intervals
    accounts: frozenset[str]  # the usernames of the training rows
    memory: Memory | None = None  # of a model that reads histories


def save(folder: Path, config: Config, model: M3L, processor: Any, scale: LikesScale, facts: dict[str, Any]) -> None:
    """Write a bundle. What a hub provides unchanged is not written again; a local checkpoint goes in whole.

    `facts` are at least `intervals` and `accounts`; the model card tells what else it knows of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = config.model.checkpoint
    local = checkpoint is not None and is_local(checkpoint)
    kept = {n for n, p in model.named_parameters() if p.requires_grad or local or checkpoint is None}
    weights = {n: t.detach().contiguous().cpu() for n, t in model.state_dict().items() if n in kept}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    if local:
        model.config.save_pretrained(folder / ARCHITECTURE)
    processor.save_pretrained(folder / "processor")
    (folder / CONFIG).write_text(config.to_yaml())
    facts = {"written": f"{datetime.now(UTC):%Y-%m-%d}", **facts}
    told = {"scale": asdict(scale), **facts, "intervals": facts["intervals"].model_dump()}
    (folder / FACTS).write_text(json.dumps(told, indent=2) + "\n")
    (folder / CARD).write_text(card(config, facts))


def load(folder: str) -> Bundle:
    """The bundle of a local or `s3://` folder; ConfigError if it is none, or holds a pickle."""
    with TemporaryDirectory() as temporary:
        local = storage.download(folder, Path(temporary))
        if not (local / CONFIG).is_file():
            raise ConfigError(f"{folder} is no bundle: it has no {CONFIG}; `m3l train` writes one")
        if found := next(pickles(local), None):
            raise ConfigError(f"{folder} holds {found.name}: a bundle is safetensors only, a pickle can run code")
        config = parse((local / CONFIG).read_text())
        facts = json.loads((local / FACTS).read_text())
        processor = InstructBlipProcessor.from_pretrained(local / "processor")
        architecture = local / ARCHITECTURE if (local / ARCHITECTURE).is_dir() else None
        model = build_model(config.model, processor, config.seed, architecture)
        retriever = Retriever.load(local / "retriever") if config.model.media else None
        partial = config.model.checkpoint is not None and architecture is None
        _fill(model, load_file(local / WEIGHTS), partial=partial, folder=folder)
    scale = LikesScale(**facts["scale"])
    intervals = Intervals.model_validate(facts["intervals"])
    accounts = frozenset(facts["accounts"])
    memory = Memory(f"{folder}/{HISTORY}", config.history) if config.model.history else None
    return Bundle(config, model.eval(), processor, scale, retriever, intervals, accounts, memory)


def _fill(model: M3L, weights: dict[str, Any], *, partial: bool, folder: str) -> None:
    try:
        missing, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a shape; the first line is the class
        reason = str(error).splitlines()[-1].strip()
        raise ConfigError(f"{folder}: weights do not fit its config.yaml ({reason})") from None
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    lost = [name for name in missing if name in trainable or not partial]
    tied = set(model.all_tied_weights_keys) if hasattr(model, "all_tied_weights_keys") else set()
    lost = [name for name in lost if name not in tied]
    if lost or unknown:
        raise ConfigError(f"{folder}: weights do not fit its config.yaml ({(lost + list(unknown))[0]}, ...)")
