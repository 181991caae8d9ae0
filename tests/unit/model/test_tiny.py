"""The tokenizer that is trained on the posts: how it splits numbers."""

import pytest
from transformers import PreTrainedTokenizerFast

from m3l.model.tiny import tiny_processor
from tests.support.posts import TINY

TEXTS = ["Likes received is 78.", "Release Time is 00:07:00", "it has 78 likes", "x78 at 00:07"] * 5


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer trained on texts that hold the numbers 78, 00 and 07 often."""
    return tiny_processor(TINY.model.tiny, TEXTS).tokenizer


def digit_tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """The tokens of a text that hold a digit."""
    return [token for token in tokenizer.tokenize(text) if any(letter.isdigit() for letter in token)]


def test_a_frequent_number_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert digit_tokens(tokenizer, "at 00:07 it has 78 likes") == ["00", "07", "78"]


def test_a_number_has_the_same_tokens_wherever_it_occurs(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in ("78", "it has 78", "(78)", "x78", "78x", "is 78."):
        assert digit_tokens(tokenizer, text) == ["78"], text


def test_a_number_never_shares_a_token_with_letters_or_spaces(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(token.isdigit() for token in digit_tokens(tokenizer, "x78 1999likes 7 00:07:00"))


def test_a_rare_number_is_split_and_decoded_unchanged(tokenizer: PreTrainedTokenizerFast) -> None:
    assert digit_tokens(tokenizer, "1978") == ["1", "9", "78"]
    assert tokenizer.decode(tokenizer(" in 1978", add_special_tokens=False)["input_ids"]) == " in 1978"
