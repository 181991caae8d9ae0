"""Caption templates by voice: they name the subjects in the order shown, never the scene."""

from typing import Literal, NamedTuple

Voice = Literal["plain", "excited", "question", "story"]
WORDING = {"statement": 0.0, "question": 0.2, "call": -0.2}  # effects on log(1 + likes)


class Template(NamedTuple):
    """Texts for one subject `{a}` and for `{a}` shown before `{b}`, and their effect on log(1 + likes)."""

    one: str
    two: str
    effect: float

    def fill(self, subjects: tuple[str, ...], username: str) -> str:
        """The caption of a post that shows one or two subjects."""
        text = self.one if len(subjects) == 1 else self.two
        return text.format(a=subjects[0], b=subjects[-1]) + f" #{username} <hyperlink>"


VOICES: dict[Voice, tuple[Template, Template]] = {
    "plain": (
        Template(
            "Meet the {a}. Fresh &amp; ready today.",
            "First the {a}, then the {b}. Fresh &amp; ready today.",
            WORDING["statement"],
        ),
        Template(
            "Visit us for the {a} &amp; more.",
            "Visit us for the {a} &amp; then the {b}.",
            WORDING["call"],
        ),
    ),
    "excited": (
        Template(
            "Wow, the {a} is here! 🎉",
            "Wow, the {a} is here and now the {b}! 🎉",
            WORDING["statement"],
        ),
        Template(
            "Have you seen the {a} yet? 🎉",
            "Have you seen the {a} and then the {b} yet? 🎉",
            WORDING["question"],
        ),
    ),
    "question": (
        Template(
            "Who loves the {a}, <mention>?",
            "Who loves the {a} before the {b}, <mention>?",
            WORDING["question"],
        ),
        Template(
            "Tell <mention> about the {a} now.",
            "Tell <mention> about the {a} and then the {b} now.",
            WORDING["call"],
        ),
    ),
    "story": (
        Template(
            "It all began with the {a}.\nThe rest is history.",
            "It all began with the {a}.\nIt ended with the {b}.",
            WORDING["statement"],
        ),
        Template(
            "Follow the {a} with us.\nThe rest is history.",
            "Follow the {a} with us.\nThen follow the {b}.",
            WORDING["call"],
        ),
    ),
}
