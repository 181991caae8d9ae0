"""HTML entities in text: platforms deliver `&` as `&amp;`, which a model must not learn to write."""

import html
import re
from html.entities import html5

MAX_ROUNDS = 3  # `&amp;amp;` was encoded twice, which takes two

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def decode_entities(text: str) -> str:
    """The text with its HTML entities decoded, repeatedly if they were encoded more than once.

    Only named entities of HTML5 and numeric ones that end with a semicolon are decoded: `AT&T` and `?a=1&copy=2` stay.
    """
    for _ in range(MAX_ROUNDS):
        decoded = _ENTITY.sub(_decode, text)
        if decoded == text:
            break
        text = decoded
    return text


def _decode(entity: re.Match[str]) -> str:
    # `html.unescape` would also decode the beginning of an unknown name: `&notion;` to `¬ion;`.
    is_entity = entity[0][1] == "#" or entity[0][1:] in html5
    return html.unescape(entity[0]) if is_entity else entity[0]
