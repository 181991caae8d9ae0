"""How close captions come to the true ones, in numbers of each caption that add up to those of a corpus."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from m3l.data.id_hash import hashes

ORDERS = (1, 2, 3, 4)
BLEU_SUMS = (*(f"correct{n}" for n in ORDERS), *(f"total{n}" for n in ORDERS), "told_length", "true_length")
WORDING = (*BLEU_SUMS, "rouge_l", "cider")
WAITING = 4096  # captions that wait to be counted among the others


def words(text: str) -> list[str]:
    """The lowercase words of a text, without punctuation and emoji."""
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


class Documents:
    """In how many of a corpus's captions each n-gram stands: what CIDEr weighs words by.

    16 bytes for each n-gram that stands in several, whatever their number; the captions are read in a stream.
    """

    def __init__(self, captions: Iterable[str]):
        from pycocoevalcap.cider.cider_scorer import precook

        self.size = 0
        self._hashes: Int64[np.ndarray, " ngrams"] = np.empty(0, np.int64)
        self._counts: Float64[np.ndarray, " ngrams"] = np.empty(0)
        waiting: list[Int64[np.ndarray, " ngrams"]] = []
        for caption in captions:
            self.size += 1
            waiting.append(hashes(map(" ".join, precook(_spoken(caption)))))
            if len(waiting) == WAITING:
                self._count(waiting)
                waiting.clear()
        self._count(waiting)
        self.tells = bool((self._counts < self.size).any())  # else no word is rarer than another
        several = self._counts > 1  # an n-gram that is not known counts as one that stands in a single caption
        self._hashes, self._counts = self._hashes[several], self._counts[several]

    def __getitem__(self, ngram: tuple[str, ...]) -> float:
        (value,) = hashes([" ".join(ngram)])
        at = int(np.searchsorted(self._hashes, value))
        return float(self._counts[at]) if at < len(self._hashes) and self._hashes[at] == value else 0.0

    def _count(self, waiting: list[Int64[np.ndarray, " ngrams"]]) -> None:
        every = np.concatenate([self._hashes, *waiting])
        counts = np.concatenate([self._counts, np.ones(len(every) - len(self._hashes))])
        self._hashes, place = np.unique(every, return_inverse=True)
        self._counts = np.bincount(place, counts, minlength=len(self._hashes)).astype(np.float64)


def wording(true: Sequence[str], told: Sequence[str], documents: Documents) -> list[dict[str, float | None]]:
    """WORDING of each told caption against its own true one; raises ValueError if the lengths differ.

    BLEU is on sacrebleu's 13a tokens in lowercase. ROUGE-L (F) and CIDEr-D read `words`: PTB's tokenizer needs Java, so
    CIDEr differs slightly from COCO's. It is None where `documents` hold too little to weigh words by.
    """
    # Here, since nltk behind them takes seconds to import and training needs none of it.
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    if len(true) != len(told):
        raise ValueError(f"{len(true)} references but {len(told)} captions")
    bleu = BLEU(lowercase=True, smooth_method="none")
    rouge = RougeScorer(["rougeL"], tokenizer=_Words())
    made = []
    for reference, caption, cider in zip(true, told, _cider(true, told, documents), strict=True):
        sums = bleu.corpus_score([caption], [[reference]])
        known = (*sums.counts, *sums.totals, sums.sys_len, sums.ref_len)
        row: dict[str, float | None] = dict(zip(BLEU_SUMS, map(float, known), strict=True))
        made.append(row | {"rouge_l": rouge.score(reference, caption)["rougeL"].fmeasure, "cider": cider})
    return made


def bleu(sums: Mapping[str, float]) -> dict[str, float]:
    """BLEU-1..4 (0 to 1) of a corpus, unsmoothed, from the BLEU_SUMS of its captions."""
    from sacrebleu.metrics import BLEU

    correct, total = ([int(sums[f"{kind}{n}"]) for n in ORDERS] for kind in ("correct", "total"))
    lengths = int(sums["told_length"]), int(sums["true_length"])
    made = {}
    for n in ORDERS:
        score = BLEU.compute_bleu(correct[:n], total[:n], *lengths, smooth_method="none", max_ngram_order=n)
        made[f"bleu{n}"] = score.score / 100
    return made


def _cider(true: Sequence[str], told: Sequence[str], documents: Documents) -> list[float | None]:
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if not documents.tells:
        return [None] * len(true)
    scorer = CiderScorer()
    for reference, caption in zip(true, told, strict=True):
        scorer += (_spoken(caption), [_spoken(reference)])
    scorer.document_frequency = documents
    scorer.crefs = _Some(scorer.crefs, documents.size)
    return [float(score) for score in scorer.compute_cider()]


class _Some(list[Any]):
    """A part of a corpus that gives the length of the whole, by which the scorer weighs what is rare."""

    def __init__(self, part: Iterable[Any], size: int):
        super().__init__(part)
        self.size = size

    def __len__(self) -> int:
        return self.size


class _Words:
    """`words` as rouge-score wants its tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def _spoken(text: str) -> str:
    return " ".join(words(text))
