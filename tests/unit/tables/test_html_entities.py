"""HTML entities in captions become the characters that they stand for."""

import pytest

from m3l.tables.html_entities import decode_entities


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("Tea &amp; toast", "Tea & toast"),
        ("&lt;3 &gt; &quot;x&quot; &apos;", '<3 > "x" \''),
        ("caf&eacute; &#233; &#xE9; &#XE9;", "café é é é"),
        ("twice &amp;amp; &amp;lt; &amp;#39;", "twice & < '"),
        ("three times &amp;amp;gt;", "three times >"),
    ],
)
def test_entities_are_decoded_even_if_they_were_encoded_repeatedly(text: str, decoded: str) -> None:
    assert decode_entities(text) == decoded
    assert decode_entities(decoded) == decoded


@pytest.mark.parametrize(
    "text", ["", "AT&T", "Q&A; M&Ms", "?a=1&copy=2&lt=3", "&notion;", "& amp;", "&#;", "&#x;", "&", "&amp", "&" * 50]
)
def test_other_ampersands_are_unchanged(text: str) -> None:
    assert decode_entities(text) == text


def test_odd_numbers_give_text_that_can_be_stored() -> None:
    for number in ("0", "8", "55296", "1114112", "9999999"):
        decode_entities(f"&#{number};").encode()
    huge = f"&#{'9' * 5000};"
    assert decode_entities(huge) == huge
    assert decode_entities("&amp;" * 20_000) == "&" * 20_000
