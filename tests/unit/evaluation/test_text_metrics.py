"""Captions' numbers add up to what the libraries tell of the whole corpus."""

from typing import Any

import pytest

from m3l.evaluation.text_metrics import BLEU_SUMS, Documents, bleu, wording, words

CAPTIONS = [
    "a dog runs on the beach",
    "two cats sleep on a sofa",
    "our new phone is here!",
    "a dog eats an apple",
]
CLOSE = ["a dog runs at the beach", "two cats sleep", "our new phone", "a dog eats"]


def corpus(true: list[str], told: list[str], pieces: int = 1) -> dict[str, float | None]:
    """The figures of a corpus whose captions come in so many pieces."""
    documents = Documents(iter(true))
    rows: list[dict[str, Any]] = []
    for at in range(pieces):
        rows += wording(true[at::pieces], told[at::pieces], documents)
    figures = bleu({name: sum(row[name] for row in rows) for name in BLEU_SUMS})
    cider = None if rows[0]["cider"] is None else sum(row["cider"] for row in rows) / len(rows)
    return {**figures, "rouge_l": sum(row["rouge_l"] for row in rows) / len(rows), "cider": cider}


def test_perfect_captions_score_the_most() -> None:
    scores = corpus(CAPTIONS, CAPTIONS)
    assert [scores[f"bleu{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1])
    assert scores["rouge_l"] == 1
    assert scores["cider"] == pytest.approx(10)


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_pieces_add_up_to_what_the_libraries_tell_of_the_whole(pieces: int) -> None:
    from pycocoevalcap.cider.cider import Cider
    from sacrebleu.metrics import BLEU

    scores = corpus(CAPTIONS, CLOSE, pieces)
    for n in (1, 2, 3, 4):
        whole = BLEU(lowercase=True, smooth_method="none", max_ngram_order=n).corpus_score(CLOSE, [CAPTIONS])
        assert scores[f"bleu{n}"] == pytest.approx(whole.score / 100)
    true, told = ({i: [" ".join(words(text))] for i, text in enumerate(texts)} for texts in (CAPTIONS, CLOSE))
    assert scores["cider"] == pytest.approx(Cider().compute_score(true, told)[0])


def test_cider_does_not_collapse_and_compares_each_with_its_own() -> None:
    near, far = (corpus(CAPTIONS, told)["cider"] for told in (CLOSE, CLOSE[1:] + CLOSE[:1]))
    assert near is not None and far is not None
    assert near > 2 > 20 * far


def test_words_are_rare_over_the_documents_not_over_the_piece() -> None:
    """A caption's CIDEr is the same in whatever company it is scored."""
    documents = Documents(CAPTIONS)
    together = wording(CAPTIONS, CLOSE, documents)
    alone = [wording([true], [told], documents)[0] for true, told in zip(CAPTIONS, CLOSE, strict=True)]
    assert together == alone
    assert documents["a", "dog"] == 2 and documents[("on",)] == 2 and documents["never", "seen"] == 0


def test_bleu_known_value() -> None:
    scores = corpus(["the cat sat on the mat", "a b c d"], ["the cat sat on a mat", "a b c d"])
    assert scores["bleu1"] == pytest.approx(9 / 10)
    assert scores["bleu2"] == pytest.approx((9 / 10 * 6 / 8) ** 0.5)


def test_few_or_empty_captions_are_told_honestly() -> None:
    one = corpus(["a dog runs"], ["a dog runs"])
    assert one["bleu1"] == pytest.approx(1) and one["rouge_l"] == 1 and one["cider"] is None
    assert corpus(["", "🙂"], ["a", "b"])["cider"] is None
    assert corpus(["the same"] * 3, ["the same"] * 3)["cider"] is None
    silent = corpus(CAPTIONS, [""] * 4)
    assert silent["cider"] == 0 and silent["bleu1"] == 0
    assert wording([], [], Documents(CAPTIONS)) == []
    with pytest.raises(ValueError, match="4 references but 1"):
        wording(CAPTIONS, ["a"], Documents(CAPTIONS))


def test_words_are_lowercase_in_any_script() -> None:
    assert words("It's GREAT 🙂, Zürich! <hyperlink>") == ["it's", "great", "zürich", "hyperlink"]
