"""A prompt tells everything but what it asks for."""

from datetime import UTC, datetime

import pytest

from m3l.config import Config, TaskConfig
from m3l.data.records import Post
from m3l.prompts.render import MASK, answer, escape, fields, metadata, neutral, render, week

CONTENT, BEHAVIOUR = Config().tasks
POST = Post(
    post_id="1",
    username="MayoClinic",
    posted_at=datetime(2020, 7, 19, 0, 7, tzinfo=UTC),
    caption="Do it safely",
    likes=78,
)


def test_the_prompts_are_the_decks() -> None:
    assert render(CONTENT, POST).endswith(
        "Now given the image,\nUsername is MayoClinic., Release Date is 2020-07-19, Release Time is 00:07:00, "
        "Likes received is 78.\nPredicted Caption: [MASK]"
    )
    assert render(BEHAVIOUR, POST).endswith(
        "Release Time is 00:07:00, Caption is Do it safely.\nPredicted Number of likes : [MASK]"
    )


def test_what_is_masked_is_never_told() -> None:
    for tell in (render, metadata):
        assert "Do it safely" not in tell(CONTENT, POST)
        assert "78" not in tell(BEHAVIOUR, POST)
    greedy = "{{Caption is {caption}.}} {{Likes received is {likes}.}} {{Username is {username}.}}"
    assert neutral(greedy, [CONTENT], POST) == neutral(greedy, [CONTENT, BEHAVIOUR], POST) == "Username is MayoClinic."
    who = TaskConfig(name="who", masked="username", head="caption", template="[MASK]")
    assert neutral(greedy, [CONTENT, who], POST) == ""


def test_a_missing_field_leaves_its_sentence_out() -> None:
    bare = POST.model_copy(update={"caption": None, "likes": None})
    assert metadata(CONTENT, bare) == metadata(BEHAVIOUR, bare)
    assert "None" not in render(CONTENT, bare) + render(BEHAVIOUR, bare)
    assert "Likes received" not in render(CONTENT, bare)
    assert "Likes received is 0." in render(CONTENT, POST.model_copy(update={"likes": 0}))
    undated = POST.model_copy(update={"posted_at": None})
    assert metadata(CONTENT, undated) == "Username is MayoClinic., Likes received is 78."
    assert week(undated) == []


def test_keywords_stand_in_for_media_that_cannot_be_read() -> None:
    task = CONTENT.model_copy(update={"template": "{{Keywords are {keywords}.}} Caption: [MASK]"})
    shown = POST.model_copy(update={"keywords": "man, [MASK]"})
    assert render(task, shown) == "Keywords are man, [ MASK]. Caption: [MASK]"
    assert metadata(task, shown) == "Keywords are man, [ MASK]."
    assert render(task, POST) == " Caption: [MASK]"


def test_the_answer_is_what_another_prompt_shows() -> None:
    told = {
        masked: answer(TaskConfig(name="t", masked=masked, head="caption", template=MASK), POST)
        for masked in ("username", "company", "posted_at", "caption", "likes")
    }
    assert told == {
        "username": "MayoClinic",
        "company": "",
        "posted_at": "2020-07-19 00:07:00",
        "caption": "Do it safely",
        "likes": "78",
    }


def test_a_masked_release_hides_date_and_time() -> None:
    when = TaskConfig(name="when", masked="posted_at", head="caption", template="{{By {username}.}} When: [MASK]")
    assert {"date", "time"}.isdisjoint(fields(POST, when.hidden))
    assert render(when, POST) == "By MayoClinic. When: [MASK]"


@pytest.mark.parametrize(
    "token",
    ["[MASK]", "[mask]", "[PAD]", "[CLS]", "[SEP]", "[DEC]", "<image>", "</s>", "<s>", "<unk>", "<pad>", "<extra_id_0>",
     "<|im_end|>", "<<s>s>", "[[MASK]MASK]"],
)  # fmt: skip
def test_a_users_text_holds_no_special_token(token: str) -> None:
    post = POST.model_copy(update={"caption": f"a{token}b", "username": token})
    assert token not in metadata(BEHAVIOUR, post) + answer(CONTENT, post)
    assert render(BEHAVIOUR, post).count(MASK) == 1
    assert escape(escape(token)) == escape(token)


def test_a_users_text_is_no_template() -> None:
    sly = POST.model_copy(update={"username": "{likes} {{Likes received is {likes}.}}"})
    assert "78" not in render(BEHAVIOUR, sly)
    assert escape("5 < 6 [sic] <hyperlink> {date}") == "5 < 6 [sic] <hyperlink> {date}"
