"""The page about the configuration, generated from the code."""

from pathlib import Path

import pytest
from pydantic import Field

from m3l.config.base import Section
from m3l.config.reference import field_comments, render

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


class Example(Section):
    # above the field,
    first: int = 1  # and beside it
    second: int = Field(
        2,
        ge=1,
    )  # after a field of several lines
    third: str = "# not a comment"


def test_the_page_is_up_to_date():
    if PAGE.read_text() != render():
        pytest.fail("docs/configuration.md does not match m3l/config: run `make docs-config`")


def test_the_comments_of_a_field_are_those_above_and_beside_it():
    assert field_comments(Example) == {
        "first": "above the field, and beside it",
        "second": "after a field of several lines",
        "third": "",
    }


def test_every_section_has_a_table_with_type_limits_and_default():
    page = render()
    assert "## `retriever.clip`" in page
    assert "| `strategy` | `ddp` or `fsdp` | `ddp` |" in page
    assert "| `patience` | int or null, ≥ 1 | null |" in page
