"""The most important results as big numbers, each with one plain sentence that puts it in context."""

from typing import Any, NamedTuple

from m3l.report.labels import PREDICTORS, dig, number, percent

BASELINES = ("trees_metadata", "trees_history", "account_median")
MAX_HEADLINES = 5


class Headline(NamedTuple):
    """A big number, its label, a sentence that compares it, and a warning if a baseline is as good."""

    figure: str
    label: str
    sentence: str
    warning: str = ""


def headlines(metrics: dict[str, Any]) -> list[Headline]:
    """The first MAX_HEADLINES results that were measured, the most important first.

    Args:
        metrics: The content of metrics.json.
    """
    builders = (_likes_r2, _media_gain, _subject_named, _order_right, _retrieval_recall, _rank_correlation, _rouge)
    return [headline for build in builders if (headline := build(metrics))][:MAX_HEADLINES]


def _likes_r2(metrics: dict[str, Any]) -> Headline | None:
    r2 = dig(metrics, "likes.r2_log1p") or {}
    if (model := r2.get("model")) is None:
        return None
    baselines = [(name, r2[name]) for name in BASELINES if r2.get(name) is not None]
    compared = [f"{PREDICTORS[name]}: {percent(value)}" for name, value in baselines]
    if (noise_floor := r2.get("noise_floor")) is not None:
        compared.append(f"{PREDICTORS['noise_floor']}: {percent(noise_floor)}")
    ahead = [PREDICTORS[name] for name, value in baselines if value >= model]
    return Headline(
        percent(model),
        "of the variation in likes explained",
        _sentence("On held-out posts, log scale", compared),
        f"It does not beat: {', '.join(ahead)}." if ahead else "",
    )


def _media_gain(metrics: dict[str, Any]) -> Headline | None:
    model, without = (dig(metrics, f"likes.r2_log1p.{name}") for name in ("model", "model_without_media"))
    if model is None or without is None:
        return None
    gain = round(100 * (model - without))
    return Headline(
        f"{gain:+d}".replace("-", "−"),
        "percentage points from images and videos",
        f"Without them, the same model explains {percent(without)} of the variation in likes.",
        "" if gain > 0 else "The media do not improve the prediction.",
    )


def _subject_named(metrics: dict[str, Any]) -> Headline | None:
    model, shuffled = (dig(metrics, f"captions.subject_named.{name}") for name in ("model", "shuffled_media"))
    if model is None:
        return None
    compared = [f"{PREDICTORS['shuffled_media']}: {percent(shuffled)}"] if shuffled is not None else []
    independent = shuffled is not None and shuffled >= model
    return Headline(
        percent(model),
        "of captions name what is shown",
        _sentence("The generated caption names every subject of the post", compared),
        "The captions do not depend on the media." if independent else "",
    )


def _order_right(metrics: dict[str, Any]) -> Headline | None:
    if (share := dig(metrics, "captions.order_right")) is None:
        return None
    return Headline(
        percent(share),
        "of captions follow the order of the video",
        "They name both subjects of a video in the order in which they appear.",
    )


def _retrieval_recall(metrics: dict[str, Any]) -> Headline | None:
    model, uniform = (dig(metrics, f"retrieval.recall_at_10.{name}") for name in ("model", "uniform"))
    if model is None:
        return None
    compared = [f"{PREDICTORS['uniform']}: {percent(uniform)}"] if uniform is not None else []
    behind = uniform is not None and uniform >= model
    return Headline(
        percent(model),
        "of the relevant frames retrieved",
        _sentence("Frames that show a subject of the post, among the ten that the model reads", compared),
        "Evenly spaced frames are as good." if behind else "",
    )


def _rank_correlation(metrics: dict[str, Any]) -> Headline | None:
    if (model := dig(metrics, "likes.spearman.model")) is None:
        return None
    compared = [
        f"{PREDICTORS[name]}: {number(value)[:4]}"
        for name in BASELINES
        if (value := dig(metrics, f"likes.spearman.{name}")) is not None
    ]
    return Headline(
        f"{model:.2f}".replace("-", "−"),
        "rank correlation",
        _sentence("Between predicted and actual likes; 1 means the same order", compared),
    )


def _rouge(metrics: dict[str, Any]) -> Headline | None:
    if (rouge := dig(metrics, "captions.rouge_l")) is None:
        return None
    return Headline(
        percent(rouge),
        "overlap with the actual captions",
        "ROUGE-L: the longest sequence of words in common with the post's own caption.",
    )


def _sentence(start: str, compared: list[str]) -> str:
    return f"{start} ({'; '.join(compared)})." if compared else f"{start}."
