"""The model card of a bundle (arXiv 1810.03993): what it was made from, how well it did, what it cannot do."""

import textwrap
from typing import Any

from m3l.config import Config
from m3l.inference.conformal import LEVELS, Widths

LIMITS = (
    "It knows posts like those it was trained on: other networks, languages, years or kinds of account are untested.",
    "Likes are a guess with a wide interval, and what goes along with likes need not bring them. A post's own "
    "promotion, and what happens in the world after it, are not among what the model sees.",
    "The intervals hold for posts like those of validation. Of later posts, and of other kinds of account, fewer may "
    "lie inside; `m3l evaluate` tells how many do.",
    "Captions are written to sound like the training posts. They may name what the media do not show, and repeat what "
    "is false or unfair in those posts: a person reads them before they are published.",
    "It does not tell who a person in a picture is, and is not meant for decisions about people.",
)
FIGURES = (
    "The figures above are of the validation posts, which chose nothing but the width of the intervals; "
    "`m3l evaluate` measures on held-out posts, beside baselines."
)
NEW_ACCOUNTS = {
    "hide": "An account without posts in the training set is answered without its name, from the media and the rest.",
    "name": "Likes of accounts without posts in the training set are less sure: their intervals are wider.",
}
COLD_ROWS = {"cold": "accounts that it does not", "hidden": "known accounts whose names were hidden, each as one"}


def card(config: Config, facts: dict[str, Any]) -> str:
    """The card in Markdown; `facts` are those that the bundle keeps."""
    model, train = config.model, config.train
    start = f"the checkpoint `{model.checkpoint}`, whose licence holds for it too" if model.checkpoint else "nothing"
    if model.lora:
        start += f"; the language model through LoRA of rank {model.lora.rank}"
    posts = f"{facts['train_posts']:,} posts" if "train_posts" in facts else "Posts"
    tasks = "\n".join(f"- `{task.name}`: masks `{task.masked}`, told by the {task.head} head" for task in config.tasks)
    metrics = "\n".join(f"| {name} | {value:.4g} |" for name, value in facts.get("metrics", {}).items())
    intervals = facts["intervals"]
    limited = "\n".join(
        textwrap.fill(f"- {limit}", 120, subsequent_indent="  ") for limit in (*limits(config), FIGURES)
    )
    return f"""# M3L bundle of the configuration `{config.name}`

Predicts a post's likes and writes its caption from its media and metadata (Multi-Modal Masked Learning: InstructBLIP
with a T-Former). Everything it was made with stands in `config.yaml`.

## Trained on

{posts} of {len(facts["accounts"]):,} accounts in `{config.paths.of("posts")}`, written {facts["written"]}.
It starts from {start}. Seed {config.seed}, {train.warmup_epochs} epochs of warm-up and {train.epochs} of Algorithm 1.

{tasks}

## How well

| figure | value |
| --- | --- |
{metrics}

Likes come with intervals: as wide as the model was wrong on posts of the split `validation`, which taught it nothing
(split-conformal). Half of an interval, in log(1 + likes):

| | posts | {" | ".join(f"{level}%" for level in LEVELS)} |
| --- | --- | {" | ".join("---" for _ in LEVELS)} |
| accounts that training knows | {_widths(intervals.known)} |
| {COLD_ROWS[intervals.cold_rows]} | {_widths(intervals.cold)} |

## What it cannot do

{limited}
"""


def limits(config: Config) -> list[str]:
    """What a bundle of this configuration cannot do, a sentence or two each."""
    return [*LIMITS[:2], NEW_ACCOUNTS[config.model.new_accounts], *LIMITS[2:]]


def _widths(group: Widths) -> str:
    told = ["-" if group.half[level] is None else f"{group.half[level]:.3g}" for level in LEVELS]
    return " | ".join([f"{group.rows:,}", *told])
