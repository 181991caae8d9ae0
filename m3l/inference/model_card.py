"""The model card of a bundle (arXiv 1810.03993): training data, validation metrics and limitations, in Markdown."""

import textwrap
from typing import Any, Literal

from m3l.config import Config, ModelConfig
from m3l.inference.conformal import LEVELS, HalfWidths, Intervals

LIMITATIONS = (
    "The model was trained on posts like those above. Other networks, languages, years and kinds of account are "
    "untested.",
    "Predicted likes are uncertain: read the range, not only the number. What correlates with likes does not "
    "necessarily cause them. The model does not see paid promotion or what happens in the world after the post.",
    "The ranges hold for posts like the validation posts. For later posts and other kinds of account fewer posts may "
    "fall inside; `m3l evaluate` measures how many do.",
    "Captions imitate the training posts. They may name things that the media do not show, and repeat false or unfair "
    "statements from those posts: have a person read them before they are published.",
    "The model does not identify people in pictures and must not be used for decisions about people.",
)
VALIDATION = (
    "The metrics above are from the validation posts, which were used only to set the width of the ranges. "
    "`m3l evaluate` measures on held-out posts, next to baselines."
)
NEW_ACCOUNTS: dict[Literal["hide", "name"], str] = {
    "hide": "For an account without training posts the model ignores the account's name and predicts from the media "
    "and the other fields.",
    "name": "Predictions for accounts without training posts are less certain: their ranges are wider.",
}
COLD_ROWS = {"cold": "New accounts", "hidden": "New accounts (calibrated on known accounts with the name removed)"}


def model_card(config: Config, metadata: dict[str, Any]) -> str:
    """The text of MODEL_CARD.md.

    Args:
        config: The configuration that the model was trained with.
        metadata: `intervals`, `accounts` and `written` (a date); optionally `train_posts` and `metrics`.

    Returns:
        Markdown.
    """
    items = (*limitations(config.model.new_accounts), VALIDATION)
    wrapped = "\n".join(textwrap.fill(f"- {item}", 120, subsequent_indent="  ") for item in items)
    return f"""# M3L bundle of the configuration `{config.name}`

Predicts the likes of a post and writes its caption from the media and metadata (Multi-Modal Masked Learning:
InstructBLIP with a T-Former). `config.yaml` holds all settings.

## Training

{_training(config, metadata)}

## Validation

{_validation(metadata.get("metrics", {}), metadata["intervals"])}

## Limitations

{wrapped}
"""


def limitations(new_accounts: Literal["hide", "name"]) -> list[str]:
    """The limitations of a bundle, one or two sentences each.

    Args:
        new_accounts: `model.new_accounts` of its configuration.
    """
    return [*LIMITATIONS[:2], NEW_ACCOUNTS[new_accounts], *LIMITATIONS[2:]]


def _training(config: Config, metadata: dict[str, Any]) -> str:
    train = config.train
    posts = f"{metadata['train_posts']:,} posts" if "train_posts" in metadata else "Posts"
    tasks = "\n".join(
        f"- `{task.name}`: `{task.masked}` is masked and predicted by the {task.head} head" for task in config.tasks
    )
    accounts, folder = len(metadata["accounts"]), config.paths.of("posts")
    return f"""{posts} from {accounts:,} accounts in `{folder}`; saved on {metadata["written"]}.
{_initialisation(config.model)} Seed {config.seed}; {train.alignment_epochs} alignment epochs,
then {train.epochs} epochs of Algorithm 1.

{tasks}"""


def _validation(metrics: dict[str, float], intervals: Intervals) -> str:
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return f"""| metric | value |
| --- | --- |
{rows}

Predicted likes come with calibrated ranges. Their width is set by the errors on the validation posts, which the model
was not trained on (split-conformal prediction). Half the width of a range, in log(1 + likes):

| | posts | {" | ".join(f"{level}%" for level in LEVELS)} |
| --- | --- | {" | ".join("---" for _ in LEVELS)} |
| Known accounts | {_cells(intervals.known)} |
| {COLD_ROWS[intervals.cold_rows]} | {_cells(intervals.cold)} |"""


def _initialisation(model: ModelConfig) -> str:
    if model.checkpoint:
        start = f"Fine-tuned from the checkpoint `{model.checkpoint}`, whose licence applies"
    else:
        start = "Trained from randomly initialised weights"
    return f"{start}; LoRA of rank {model.lora.rank} in the language model." if model.lora else f"{start}."


def _cells(group: HalfWidths) -> str:
    halves = ["-" if group.half[level] is None else f"{group.half[level]:.3g}" for level in LEVELS]
    return " | ".join([f"{group.rows:,}", *halves])
