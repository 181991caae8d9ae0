"""The bundle: one folder with a trained model and everything that is needed to predict with it."""

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
from m3l.history.timeline import HistoryIndex
from m3l.inference.conformal import Intervals
from m3l.inference.model_card import model_card
from m3l.inference.pickle_scan import find_pickles
from m3l.model.build import build_model, is_local
from m3l.model.m3l import M3L
from m3l.prompts.collator import LikesScale
from m3l.retriever.clip import Retriever

WEIGHTS, CONFIG, METADATA, MODEL_CARD = "model.safetensors", "config.yaml", "bundle.json", "MODEL_CARD.md"
HISTORY = "history"  # folder of the timelines of the training accounts
ARCHITECTURE = "architecture"  # folder of the checkpoint's own configuration, if the bundle holds all of its weights


@dataclass
class Bundle:
    """A trained model with everything that is needed to predict.

    Attributes:
        config: The configuration that it was trained with.
        model: The model, in evaluation mode.
        processor: Tokenizers and image processor.
        scale: Mean and standard deviation of log(1 + likes) over the training posts.
        retriever: Selects key frames; None if the model reads no media or the frames are already selected.
        intervals: Calibrated half-widths of the intervals of likes.
        accounts: Usernames of the training posts.
        history: The accounts' past posts; None if the model reads no histories.
    """

    config: Config
    model: M3L
    processor: Any
    scale: LikesScale
    retriever: Retriever | None
    intervals: Intervals
    accounts: frozenset[str]
    history: HistoryIndex | None = None


def save(folder: Path, config: Config, model: M3L, processor: Any, scale: LikesScale, metadata: dict[str, Any]) -> None:
    """Write a bundle to a local folder.

    Frozen weights of a checkpoint on the Hub are left out; a local checkpoint is saved in full.

    Args:
        folder: Target folder; created if necessary.
        config: The configuration that the model was trained with.
        model: The trained model.
        processor: Tokenizers and image processor.
        scale: Mean and standard deviation of log(1 + likes) over the training posts.
        metadata: At least `intervals` (`Intervals`) and `accounts`; what else `model_card` reads is optional.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = config.model.checkpoint
    local = checkpoint is not None and is_local(checkpoint)
    names = {n for n, p in model.named_parameters() if p.requires_grad or local or checkpoint is None}
    weights = {n: t.detach().contiguous().cpu() for n, t in model.state_dict().items() if n in names}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    if local:
        model.config.save_pretrained(folder / ARCHITECTURE)
    processor.save_pretrained(folder / "processor")
    (folder / CONFIG).write_text(config.to_yaml())
    metadata = {"written": f"{datetime.now(UTC):%Y-%m-%d}", **metadata}
    content = {"scale": asdict(scale), **metadata, "intervals": metadata["intervals"].model_dump()}
    (folder / METADATA).write_text(json.dumps(content, indent=2) + "\n")
    (folder / MODEL_CARD).write_text(model_card(config, metadata))


def load(folder: str) -> Bundle:
    """Load the bundle of a local or `s3://` folder.

    Raises:
        ConfigError: The folder is not a bundle, holds a pickle, or its weights do not fit its configuration.
    """
    with TemporaryDirectory() as temporary:
        local = storage.local_copy(folder, Path(temporary))
        if not (local / CONFIG).is_file():
            raise ConfigError(f"{folder} is not a bundle: it has no {CONFIG}; `m3l train` writes one")
        if pickle := next(find_pickles(local), None):
            raise ConfigError(f"{folder} holds {pickle.name}: a bundle is safetensors only, a pickle can run code")
        config = parse((local / CONFIG).read_text())
        metadata = json.loads((local / METADATA).read_text())
        processor = InstructBlipProcessor.from_pretrained(local / "processor")
        architecture = local / ARCHITECTURE if (local / ARCHITECTURE).is_dir() else None
        model = build_model(config.model, processor, config.seed, architecture)
        retriever = Retriever.load(local / "retriever") if config.model.media else None
        partial = config.model.checkpoint is not None and architecture is None
        _load_weights(model, load_file(local / WEIGHTS), partial=partial, folder=folder)
    scale = LikesScale(**metadata["scale"])
    intervals = Intervals.model_validate(metadata["intervals"])
    accounts = frozenset(metadata["accounts"])
    history = HistoryIndex(f"{folder}/{HISTORY}", config.history) if config.model.history else None
    return Bundle(config, model.eval(), processor, scale, retriever, intervals, accounts, history)


def _load_weights(model: M3L, weights: dict[str, Any], *, partial: bool, folder: str) -> None:
    """Load the weights into the model; with `partial` only the trainable ones must be there."""
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a shape differs; the first line names only the class
        reason = str(error).splitlines()[-1].strip()
        raise ConfigError(f"{folder}: weights do not fit its config.yaml ({reason})") from None
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    missing = [name for name in missing if name in trainable or not partial]
    tied = set(model.all_tied_weights_keys) if hasattr(model, "all_tied_weights_keys") else set()
    missing = [name for name in missing if name not in tied]
    if missing or unexpected:
        raise ConfigError(f"{folder}: weights do not fit its config.yaml ({(missing + list(unexpected))[0]}, ...)")
