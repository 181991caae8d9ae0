"""BLEU, ROUGE-L and CIDEr-D of captions, as values of each caption that add up to those of a corpus."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from m3l.data.id_hash import hash_texts

ORDERS = (1, 2, 3, 4)  # lengths of BLEU's n-grams
BLEU_SUMS = (*(f"correct{n}" for n in ORDERS), *(f"total{n}" for n in ORDERS), "told_length", "true_length")
CAPTION_COLUMNS = (*BLEU_SUMS, "rouge_l", "cider")  # columns of the scores; `told_length` is the generated caption's
BUFFERED_CAPTIONS = 4096  # counted at once


def words(text: str) -> list[str]:
    """The lowercase words of a text, without punctuation and emoji."""
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


class DocumentFrequencies:
    """The number of captions of a corpus that contain each n-gram; CIDEr weights n-grams by it.

    Uses 16 bytes for each n-gram of several captions, and reads the captions as a stream.

    Args:
        captions: The captions of the corpus.

    Attributes:
        size: Number of captions.
        informative: Whether some n-gram is missing from some caption; else CIDEr has nothing to weight by.
    """

    def __init__(self, captions: Iterable[str]):
        from pycocoevalcap.cider.cider_scorer import precook

        self.size = 0
        self._hashes: Int64[np.ndarray, " ngrams"] = np.empty(0, np.int64)
        self._counts: Float64[np.ndarray, " ngrams"] = np.empty(0)
        buffer: list[Int64[np.ndarray, " ngrams"]] = []
        for caption in captions:
            self.size += 1
            buffer.append(hash_texts(map(" ".join, precook(_normalise(caption)))))
            if len(buffer) == BUFFERED_CAPTIONS:
                self._add(buffer)
                buffer.clear()
        self._add(buffer)
        self.informative = bool((self._counts < self.size).any())
        several = self._counts > 1  # CIDEr treats a count of 0 like a count of 1
        self._hashes, self._counts = self._hashes[several], self._counts[several]

    def __getitem__(self, ngram: tuple[str, ...]) -> float:
        (value,) = hash_texts([" ".join(ngram)])
        index = int(np.searchsorted(self._hashes, value))
        found = index < len(self._hashes) and self._hashes[index] == value
        return float(self._counts[index]) if found else 0.0

    def _add(self, buffer: list[Int64[np.ndarray, " ngrams"]]) -> None:
        ngrams = np.concatenate([self._hashes, *buffer])
        counts = np.concatenate([self._counts, np.ones(len(ngrams) - len(self._hashes))])
        self._hashes, inverse = np.unique(ngrams, return_inverse=True)
        self._counts = np.bincount(inverse, counts, minlength=len(self._hashes)).astype(np.float64)


def caption_scores(
    references: Sequence[str], captions: Sequence[str], frequencies: DocumentFrequencies
) -> list[dict[str, float | None]]:
    """CAPTION_COLUMNS of each caption against its own reference.

    BLEU is on sacrebleu's 13a tokens in lowercase. ROUGE-L (F) and CIDEr-D use `words`, since PTB's tokenizer needs
    Java; so CIDEr differs slightly from COCO's.

    Args:
        references: The actual captions.
        captions: The generated captions, in the same order.
        frequencies: Of the corpus; CIDEr is None if they are not informative.

    Raises:
        ValueError: The numbers of references and captions differ.
    """
    # Imported here: nltk behind them takes seconds to import, and training needs none of it.
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    if len(references) != len(captions):
        raise ValueError(f"{len(references)} references but {len(captions)} captions")
    bleu = BLEU(lowercase=True, smooth_method="none")
    rouge = RougeScorer(["rougeL"], tokenizer=_Tokenizer())
    rows = []
    for reference, caption, cider in zip(references, captions, _cider(references, captions, frequencies), strict=True):
        score = bleu.corpus_score([caption], [[reference]])
        sums = (*score.counts, *score.totals, score.sys_len, score.ref_len)
        row: dict[str, float | None] = dict(zip(BLEU_SUMS, map(float, sums), strict=True))
        rows.append(row | {"rouge_l": rouge.score(reference, caption)["rougeL"].fmeasure, "cider": cider})
    return rows


def corpus_bleu(sums: Mapping[str, float]) -> dict[str, float]:
    """Unsmoothed BLEU-1 to BLEU-4 (0 to 1) of a corpus, from the sums of its captions' BLEU_SUMS."""
    from sacrebleu.metrics import BLEU

    correct, total = ([int(sums[f"{kind}{n}"]) for n in ORDERS] for kind in ("correct", "total"))
    lengths = int(sums["told_length"]), int(sums["true_length"])
    scores = {}
    for n in ORDERS:
        score = BLEU.compute_bleu(correct[:n], total[:n], *lengths, smooth_method="none", max_ngram_order=n)
        scores[f"bleu{n}"] = score.score / 100
    return scores


def _cider(references: Sequence[str], captions: Sequence[str], frequencies: DocumentFrequencies) -> list[float | None]:
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if not frequencies.informative:
        return [None] * len(references)
    scorer = CiderScorer()
    for reference, caption in zip(references, captions, strict=True):
        scorer += (_normalise(caption), [_normalise(reference)])
    scorer.document_frequency = frequencies
    scorer.crefs = _PartOfCorpus(scorer.crefs, frequencies.size)
    return [float(score) for score in scorer.compute_cider()]


class _PartOfCorpus(list[Any]):
    """Some captions of a corpus; `len` is that of the corpus, which the scorer divides document frequencies by."""

    def __init__(self, part: Iterable[Any], size: int):
        super().__init__(part)
        self.size = size

    def __len__(self) -> int:
        return self.size


class _Tokenizer:
    """`words` with the interface of rouge-score's tokenizers."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def _normalise(text: str) -> str:
    return " ".join(words(text))
