"""A prompt shows every field of the post but the one that its task predicts."""

from datetime import UTC, datetime

import pytest

from m3l.config import Config, TaskConfig
from m3l.data.records import Post
from m3l.prompts.render import (
    MASK,
    escape,
    metadata_prompt,
    render,
    target_text,
    task_neutral_text,
    times_over_week,
    visible_fields,
)

CONTENT, BEHAVIOUR = Config().tasks
POST = Post(
    post_id="1",
    username="MayoClinic",
    posted_at=datetime(2020, 7, 19, 0, 7, tzinfo=UTC),
    caption="Do it safely",
    likes=78,
)


def test_the_default_prompts_are_those_of_the_original_method() -> None:
    assert render(CONTENT, POST).endswith(
        "Now given the image,\nUsername is MayoClinic., Release Date is 2020-07-19, Release Time is 00:07:00, "
        "Likes received is 78.\nPredicted Caption: [MASK]"
    )
    assert render(BEHAVIOUR, POST).endswith(
        "Release Time is 00:07:00, Caption is Do it safely.\nPredicted Number of likes : [MASK]"
    )


def test_the_masked_field_never_shows() -> None:
    for prompt in (render, metadata_prompt):
        assert "Do it safely" not in prompt(CONTENT, POST)
        assert "78" not in prompt(BEHAVIOUR, POST)
    greedy = "{{Caption is {caption}.}} {{Likes received is {likes}.}} {{Username is {username}.}}"
    assert (
        task_neutral_text(greedy, [CONTENT], POST)
        == task_neutral_text(greedy, [CONTENT, BEHAVIOUR], POST)
        == "Username is MayoClinic."
    )
    who = TaskConfig(name="who", masked="username", head="caption", template="[MASK]")
    assert task_neutral_text(greedy, [CONTENT, who], POST) == ""


def test_a_missing_field_leaves_its_sentence_out() -> None:
    bare = POST.model_copy(update={"caption": None, "likes": None})
    assert metadata_prompt(CONTENT, bare) == metadata_prompt(BEHAVIOUR, bare)
    assert "None" not in render(CONTENT, bare) + render(BEHAVIOUR, bare)
    assert "Likes received" not in render(CONTENT, bare)
    assert "Likes received is 0." in render(CONTENT, POST.model_copy(update={"likes": 0}))
    undated = POST.model_copy(update={"posted_at": None})
    assert metadata_prompt(CONTENT, undated) == "Username is MayoClinic., Likes received is 78."
    assert times_over_week(undated) == []


def test_a_template_can_show_keywords() -> None:
    task = CONTENT.model_copy(update={"template": "{{Keywords are {keywords}.}} Caption: [MASK]"})
    shown = POST.model_copy(update={"keywords": "man, [MASK]"})
    assert render(task, shown) == "Keywords are man, [ MASK]. Caption: [MASK]"
    assert metadata_prompt(task, shown) == "Keywords are man, [ MASK]."
    assert render(task, POST) == " Caption: [MASK]"


def test_the_target_is_the_masked_field_as_another_prompt_shows_it() -> None:
    targets = {
        masked: target_text(TaskConfig(name="t", masked=masked, head="caption", template=MASK), POST)
        for masked in ("username", "company", "posted_at", "caption", "likes")
    }
    assert targets == {
        "username": "MayoClinic",
        "company": "",
        "posted_at": "2020-07-19 00:07:00",
        "caption": "Do it safely",
        "likes": "78",
    }


def test_masking_the_release_hides_date_and_time() -> None:
    when = TaskConfig(name="when", masked="posted_at", head="caption", template="{{By {username}.}} When: [MASK]")
    assert {"date", "time"}.isdisjoint(visible_fields(POST, when.hidden))
    assert render(when, POST) == "By MayoClinic. When: [MASK]"


@pytest.mark.parametrize(
    "token",
    ["[MASK]", "[mask]", "[PAD]", "[CLS]", "[SEP]", "[DEC]", "<image>", "</s>", "<s>", "<unk>", "<pad>", "<extra_id_0>",
     "<|im_end|>", "<<s>s>", "[[MASK]MASK]"],
)  # fmt: skip
def test_special_tokens_in_a_users_text_are_escaped(token: str) -> None:
    post = POST.model_copy(update={"caption": f"a{token}b", "username": token})
    assert token not in metadata_prompt(BEHAVIOUR, post) + target_text(CONTENT, post)
    assert render(BEHAVIOUR, post).count(MASK) == 1
    assert escape(escape(token)) == escape(token)


def test_template_syntax_in_a_users_text_is_plain_text() -> None:
    malicious = POST.model_copy(update={"username": "{likes} {{Likes received is {likes}.}}"})
    assert "78" not in render(BEHAVIOUR, malicious)
    assert escape("5 < 6 [sic] <hyperlink> {date}") == "5 < 6 [sic] <hyperlink> {date}"
