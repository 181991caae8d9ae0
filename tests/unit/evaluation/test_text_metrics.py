"""The scores of single captions add up to the corpus metrics of the libraries."""

from typing import Any

import pytest

from m3l.evaluation.text_metrics import BLEU_SUMS, DocumentFrequencies, caption_scores, corpus_bleu, words

CAPTIONS = [
    "a dog runs on the beach",
    "two cats sleep on a sofa",
    "our new phone is here!",
    "a dog eats an apple",
]
CLOSE = ["a dog runs at the beach", "two cats sleep", "our new phone", "a dog eats"]


def corpus_metrics(references: list[str], captions: list[str], chunks: int = 1) -> dict[str, float | None]:
    """The metrics of a corpus that is scored in several chunks."""
    frequencies = DocumentFrequencies(iter(references))
    rows: list[dict[str, Any]] = []
    for start in range(chunks):
        rows += caption_scores(references[start::chunks], captions[start::chunks], frequencies)
    bleu = corpus_bleu({name: sum(row[name] for row in rows) for name in BLEU_SUMS})
    cider = None if rows[0]["cider"] is None else sum(row["cider"] for row in rows) / len(rows)
    return {**bleu, "rouge_l": sum(row["rouge_l"] for row in rows) / len(rows), "cider": cider}


def test_perfect_captions_score_the_most() -> None:
    scores = corpus_metrics(CAPTIONS, CAPTIONS)
    assert [scores[f"bleu{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1])
    assert scores["rouge_l"] == 1
    assert scores["cider"] == pytest.approx(10)


@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_chunks_add_up_to_the_corpus_metrics_of_the_libraries(chunks: int) -> None:
    from pycocoevalcap.cider.cider import Cider
    from sacrebleu.metrics import BLEU

    scores = corpus_metrics(CAPTIONS, CLOSE, chunks)
    for n in (1, 2, 3, 4):
        expected = BLEU(lowercase=True, smooth_method="none", max_ngram_order=n).corpus_score(CLOSE, [CAPTIONS])
        assert scores[f"bleu{n}"] == pytest.approx(expected.score / 100)
    references, captions = ({i: [" ".join(words(text))] for i, text in enumerate(texts)} for texts in (CAPTIONS, CLOSE))
    assert scores["cider"] == pytest.approx(Cider().compute_score(references, captions)[0])


def test_cider_compares_each_caption_with_its_own_reference() -> None:
    near, far = (corpus_metrics(CAPTIONS, captions)["cider"] for captions in (CLOSE, CLOSE[1:] + CLOSE[:1]))
    assert near is not None and far is not None
    assert near > 2 > 20 * far


def test_words_are_weighted_by_the_whole_corpus_not_by_the_chunk() -> None:
    """A caption's CIDEr does not depend on the captions that are scored with it."""
    frequencies = DocumentFrequencies(CAPTIONS)
    together = caption_scores(CAPTIONS, CLOSE, frequencies)
    alone = [caption_scores([text], [close], frequencies)[0] for text, close in zip(CAPTIONS, CLOSE, strict=True)]
    assert together == alone
    assert frequencies["a", "dog"] == 2 and frequencies[("on",)] == 2 and frequencies["never", "seen"] == 0


def test_bleu_of_a_small_example() -> None:
    scores = corpus_metrics(["the cat sat on the mat", "a b c d"], ["the cat sat on a mat", "a b c d"])
    assert scores["bleu1"] == pytest.approx(9 / 10)
    assert scores["bleu2"] == pytest.approx((9 / 10 * 6 / 8) ** 0.5)


def test_cider_of_too_few_captions_is_none_and_empty_captions_score_0() -> None:
    one = corpus_metrics(["a dog runs"], ["a dog runs"])
    assert one["bleu1"] == pytest.approx(1) and one["rouge_l"] == 1 and one["cider"] is None
    assert corpus_metrics(["", "🙂"], ["a", "b"])["cider"] is None
    assert corpus_metrics(["the same"] * 3, ["the same"] * 3)["cider"] is None
    empty = corpus_metrics(CAPTIONS, [""] * 4)
    assert empty["cider"] == 0 and empty["bleu1"] == 0
    assert caption_scores([], [], DocumentFrequencies(CAPTIONS)) == []
    with pytest.raises(ValueError, match="4 references but 1"):
        caption_scores(CAPTIONS, ["a"], DocumentFrequencies(CAPTIONS))


def test_words_are_lowercase_in_any_script() -> None:
    assert words("It's GREAT 🙂, Zürich! <hyperlink>") == ["it's", "great", "zürich", "hyperlink"]
