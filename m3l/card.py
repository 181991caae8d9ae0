"""The model card of a bundle (arXiv 1810.03993): what it was made from, how well it did, what it cannot do."""

from datetime import UTC, datetime
from typing import Any

from m3l.config import Config

LIMITS = """\
- It knows posts like those it was trained on: other networks, languages, years or kinds of account are untested.
- Likes are a guess with a wide interval, and what goes along with likes need not bring them. A post's own promotion,
  and what happens in the world after it, are not among what the model sees.
- {accounts}
- Captions are written to sound like the training posts. They may name what the media do not show, and repeat what is
  false or unfair in those posts: a person reads them before they are published.
- It does not tell who a person in a picture is, and is not meant for decisions about people.
- The figures above are of the validation posts, which chose nothing but the width of the intervals; `m3l evaluate`
  measures on held-out posts, beside baselines."""
NEW_ACCOUNTS = {
    "hide": "An account without posts in the training set is answered without its name, from the media and the rest.",
    "name": "Likes of accounts without posts in the training set are less sure than the interval says.",
}


def card(config: Config, facts: dict[str, Any]) -> str:
    """The card in Markdown; `facts` are those that the bundle keeps."""
    model, train = config.model, config.train
    start = f"the checkpoint `{model.checkpoint}`, whose licence holds for it too" if model.checkpoint else "nothing"
    if model.lora:
        start += f"; the language model through LoRA of rank {model.lora.rank}"
    posts = f"{facts['train_posts']:,} posts" if "train_posts" in facts else "Posts"
    tasks = "\n".join(f"- `{task.name}`: masks `{task.masked}`, told by the {task.head} head" for task in config.tasks)
    metrics = "\n".join(f"| {name} | {value:.4g} |" for name, value in facts.get("metrics", {}).items())
    return f"""# M3L bundle of the configuration `{config.name}`

Predicts a post's likes and writes its caption from its media and metadata (Multi-Modal Masked Learning: InstructBLIP
with a T-Former). Everything it was made with stands in `config.yaml`.

## Trained on

{posts} of {len(facts["accounts"]):,} accounts in `{config.paths.of("posts")}`, written {datetime.now(UTC):%Y-%m-%d}.
It starts from {start}. Seed {config.seed}, {train.warmup_epochs} epochs of warm-up and {train.epochs} of Algorithm 1.

{tasks}

## How well

| figure | value |
| --- | --- |
| spread of log(1 + likes) around the prediction | {facts["residual_std"]:.4g} |
{metrics}

## What it cannot do

{LIMITS.format(accounts=NEW_ACCOUNTS[model.new_accounts])}
"""
