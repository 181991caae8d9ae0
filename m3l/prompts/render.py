"""Prompts: a post's visible fields inside a task's template, with the masked field left out.

A template is plain text with `{{sentences}}`, each of which holds `{fields}`. A sentence appears only if all of its
fields have a value, so that a missing field never shows as "None".
"""

import re
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import NamedTuple

from m3l.config import TaskConfig
from m3l.data.records import Post
from m3l.history.timeline import describe

MASK = "[MASK]"
OPTIONAL_FIELDS = {  # fields that a post may lack, each with its value then
    "username": "",
    "company": None,
    "caption": None,
    "likes": None,
    "history": None,
    "keywords": None,
}

# In a user's text these would be read as special tokens; a space inside makes them plain words.
_SPECIAL = re.compile(r"\[(?=(?:MASK|PAD|CLS|SEP|UNK|DEC)\])|<(?=/?s>|unk>|pad>|image>|extra_id_|\|)", re.IGNORECASE)
_SENTENCE = re.compile(r"( ?)\{\{(.*?)\}\}")
_FIELD = re.compile(r"\{(\w+)\}")


class PromptPiece(NamedTuple):
    """A part of a prompt: text of the template, or the value of a field."""

    text: str
    is_field: bool


def visible_fields(post: Post, hidden: Collection[str] = ()) -> dict[str, str]:
    """The fields of a post as templates name and show them.

    Args:
        post: The post.
        hidden: Names of fields to leave out.

    Returns:
        The escaped text of each field that has a value and is not hidden.
    """
    values = {
        "username": post.username,
        "company": post.company,
        "date": post.posted_at and f"{post.posted_at:%Y-%m-%d}",
        "time": post.posted_at and f"{post.posted_at:%H:%M:%S}",
        "keywords": post.keywords,
        "caption": post.caption,
        "likes": None if post.likes is None else str(post.likes),
        "history": describe(post.history),
    }
    return {name: escape(value) for name, value in values.items() if value and name not in hidden}


def escape(text: str) -> str:
    """The text with every special token of the tokenizers broken apart, so that a user cannot inject one."""
    return _SPECIAL.sub(lambda match: match.group() + " ", text)


def render(task: TaskConfig, post: Post) -> str:
    """The prompt of a task: its template, without the sentences that have a missing or masked field."""
    return "".join(piece.text for piece in prompt_pieces(task, post))


def prompt_pieces(task: TaskConfig, post: Post) -> list[PromptPiece]:
    """The prompt of a task, split into the template's text and the values of fields."""
    values, pieces, end = visible_fields(post, task.hidden), [], 0
    for match in _SENTENCE.finditer(task.template):
        pieces.append(PromptPiece(task.template[end : match.start()], False))
        if _can_fill(match[2], values):
            pieces += [PromptPiece(match[1], False), *_sentence_pieces(match[2], values)]
        end = match.end()
    return [*pieces, PromptPiece(task.template[end:], False)]


def metadata_prompt(task: TaskConfig, post: Post) -> str:
    """The filled sentences of a task's prompt, without its instructions and the account's history.

    This is the query of the frame retriever, and the Q-Former's text if `model.qformer_text` is "per_task".
    """
    return _filled_sentences(task.template, visible_fields(post, (*task.hidden, "history")))


def target_text(task: TaskConfig, post: Post) -> str:
    """The masked field as another task's prompt would show it, which is what the task predicts; empty if missing."""
    values = visible_fields(post)
    return " ".join(values[name] for name in task.hidden if name in values)


def task_neutral_text(template: str, tasks: Sequence[TaskConfig], post: Post) -> str:
    """The Q-Former's text if several tasks share its output.

    Args:
        template: The sentences to fill, `model.qformer_template`.
        tasks: The tasks, none of whose masked fields may show.
        post: The post. Its caption, likes and history never show.
    """
    masked = [field for task in tasks for field in task.hidden]
    return _filled_sentences(template, visible_fields(post, ("caption", "likes", "history", *masked)))


def without_fields(post: Post, names: Collection[str]) -> Post:
    """The post with the named OPTIONAL_FIELDS missing."""
    return post.model_copy(update={name: OPTIONAL_FIELDS[name] for name in names})


def anonymised(post: Post) -> Post:
    """The post without its account and company; the account's name is removed from the caption, too."""
    caption = post.caption
    if caption and post.username:
        caption = re.sub(rf"[#@]?\b{re.escape(post.username)}\b", "", caption, flags=re.IGNORECASE)
    return without_fields(post, ["username", "company"]).model_copy(update={"caption": caption})


def times_over_week(post: Post) -> list[Post]:
    """Copies of the post at eight times, 21 hours apart, which cover hours and weekdays evenly.

    Returns:
        The copies, the first at the post's own time; no copies of a post without a date.
    """
    at = post.posted_at
    return [post.model_copy(update={"posted_at": at + timedelta(hours=21 * step)}) for step in range(8)] if at else []


def _filled_sentences(template: str, values: dict[str, str]) -> str:
    sentences = [sentence for _, sentence in _SENTENCE.findall(template) if _can_fill(sentence, values)]
    return " ".join("".join(piece.text for piece in _sentence_pieces(sentence, values)) for sentence in sentences)


def _can_fill(sentence: str, values: dict[str, str]) -> bool:
    return all(name in values for name in _FIELD.findall(sentence))


def _sentence_pieces(sentence: str, values: dict[str, str]) -> list[PromptPiece]:
    parts = _FIELD.split(sentence)  # text and field names take turns
    return [PromptPiece(values[part], True) if i % 2 else PromptPiece(part, False) for i, part in enumerate(parts)]
