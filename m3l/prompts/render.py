"""Prompts: a post's visible fields inside a task's template, with the masked field left out."""

import re
from collections.abc import Collection, Sequence
from datetime import timedelta

from m3l.config import TaskConfig
from m3l.data.records import Post
from m3l.history.timeline import told

MASK = "[MASK]"
OPTIONAL = {
    "username": "",
    "company": None,
    "caption": None,
    "likes": None,
    "history": None,
    "keywords": None,
}  # fields by what stands for unknown

# Written so in a user's text these would act as tokens; a space inside makes them plain words.
_SPECIAL = re.compile(r"\[(?=(?:MASK|PAD|CLS|SEP|UNK|DEC)\])|<(?=/?s>|unk>|pad>|image>|extra_id_|\|)", re.IGNORECASE)
_SENTENCE = re.compile(r"( ?)\{\{(.*?)\}\}")
_FIELD = re.compile(r"\{(\w+)\}")


def fields(post: Post, hidden: tuple[str, ...] = ()) -> dict[str, str]:
    """The visible fields of a post as a template names them; what is hidden or missing is absent."""
    values = {
        "username": post.username,
        "company": post.company,
        "date": post.posted_at and f"{post.posted_at:%Y-%m-%d}",
        "time": post.posted_at and f"{post.posted_at:%H:%M:%S}",
        "keywords": post.keywords,
        "caption": post.caption,
        "likes": None if post.likes is None else str(post.likes),
        "history": told(post.history),
    }
    return {name: escape(value) for name, value in values.items() if value and name not in hidden}


def escape(text: str) -> str:
    """The text with every special token of the tokenizers broken apart, so that a user cannot inject one."""
    return _SPECIAL.sub(lambda match: match.group() + " ", text)


def render(task: TaskConfig, post: Post) -> str:
    """The whole prompt of a task: its template, without the `{{sentences}}` that cannot be filled."""
    return "".join(text for text, _ in pieces(task, post))


def pieces(task: TaskConfig, post: Post) -> list[tuple[str, bool]]:
    """The prompt of a task piece by piece, each with whether it is a field's own text."""
    values, made, end = fields(post, task.hidden), [], 0
    for found in _SENTENCE.finditer(task.template):
        made.append((task.template[end : found.start()], False))
        if _can_fill(found[2], values):
            made += [(found[1], False), *_pieces(found[2], values)]
        end = found.end()
    return [*made, (task.template[end:], False)]


def metadata(task: TaskConfig, post: Post) -> str:
    """The visible fields of the post itself without the template's instructions: what the retriever is asked with."""
    return _filled(task.template, fields(post, (*task.hidden, "history")))


def without(post: Post, names: Collection[str]) -> Post:
    """The post with some of its OPTIONAL fields unknown."""
    return post.model_copy(update={name: OPTIONAL[name] for name in names})


def nameless(post: Post) -> Post:
    """The post as if nobody knew whose it is: without its account's name, in its caption, too."""
    caption = post.caption
    if caption and post.username:
        caption = re.sub(rf"[#@]?\b{re.escape(post.username)}\b", "", caption, flags=re.IGNORECASE)
    return without(post, ["username", "company"]).model_copy(update={"caption": caption})


def week(post: Post) -> list[Post]:
    """The post at eight times that spread evenly over the day and over a week, its own the first; [] without a date."""
    at = post.posted_at
    return [post.model_copy(update={"posted_at": at + timedelta(hours=21 * step)}) for step in range(8)] if at else []


def answer(task: TaskConfig, post: Post) -> str:
    """What the task shall tell: the masked field as another task's prompt would show it; empty if it is missing."""
    values = fields(post)
    return " ".join(values[name] for name in task.hidden if name in values)


def neutral(template: str, tasks: Sequence[TaskConfig], post: Post) -> str:
    """The text that a shared Q-Former reads: no caption, no likes, nor what one of the tasks masks."""
    masked = [field for task in tasks for field in task.hidden]
    return _filled(template, fields(post, ("caption", "likes", "history", *masked)))


def _filled(template: str, values: dict[str, str]) -> str:
    found = [sentence for _, sentence in _SENTENCE.findall(template)]
    return " ".join(_fill(sentence, values) for sentence in found if _can_fill(sentence, values))


def _can_fill(sentence: str, values: dict[str, str]) -> bool:
    return all(name in values for name in _FIELD.findall(sentence))


def _fill(sentence: str, values: dict[str, str]) -> str:
    return "".join(text for text, _ in _pieces(sentence, values))


def _pieces(sentence: str, values: dict[str, str]) -> list[tuple[str, bool]]:
    parts = _FIELD.split(sentence)  # text and field names, by turns
    return [(values[part], True) if at % 2 else (part, False) for at, part in enumerate(parts)]
