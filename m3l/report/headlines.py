"""The figures that say most, big, each with one plain sentence that puts it beside something."""

from typing import Any, NamedTuple

from m3l.report.labels import PREDICTORS, dig, number, percent

BASELINES = ("trees_metadata", "trees_history", "account_median")


class Headline(NamedTuple):
    """A big figure, what it is of, and a sentence that puts it beside something."""

    figure: str
    label: str
    sentence: str
    warning: str = ""


def headlines(metrics: dict[str, Any]) -> list[Headline]:
    """The figures that say most, in order; those that were not measured are left out."""
    makers = (_explained, _media, _named, _order, _found, _ranked, _worded)
    return [headline for maker in makers if (headline := maker(metrics))][:5]


def _explained(metrics: dict[str, Any]) -> Headline | None:
    scores = dig(metrics, "likes.r2_log1p") or {}
    if (model := scores.get("model")) is None:
        return None
    others = [(name, scores[name]) for name in BASELINES if scores.get(name) is not None]
    told = [f"{PREDICTORS[name]}: {percent(value)}" for name, value in others]
    if (floor := scores.get("noise_floor")) is not None:
        told.append(f"perfect knowledge: {percent(floor)}")
    ahead = [PREDICTORS[name] for name, value in others if value >= model]
    return Headline(
        percent(model),
        "of the variation in likes explained",
        _sentence("On posts it never saw, on a log scale", told),
        f"It does not beat {' or '.join(ahead)}." if ahead else "",
    )


def _media(metrics: dict[str, Any]) -> Headline | None:
    model, blind = (dig(metrics, f"likes.r2_log1p.{name}") for name in ("model", "model_without_media"))
    if model is None or blind is None:
        return None
    gain = round(100 * (model - blind))
    return Headline(
        f"{gain:+d}".replace("-", "−"),
        "points come from seeing the media",
        f"The same model explains {percent(blind)} when it is not shown them.",
        "" if gain > 0 else "The media do not help it.",
    )


def _named(metrics: dict[str, Any]) -> Headline | None:
    model, shuffled = (dig(metrics, f"captions.subject_named.{name}") for name in ("model", "shuffled_media"))
    if model is None:
        return None
    told = [f"shown another post's media: {percent(shuffled)}"] if shuffled is not None else []
    behind = shuffled is not None and shuffled >= model
    return Headline(
        percent(model),
        "of captions name what is shown",
        _sentence("A subject that is on screen is in the text", told),
        "Its captions do not depend on the media." if behind else "",
    )


def _order(metrics: dict[str, Any]) -> Headline | None:
    if (share := dig(metrics, "captions.order_right")) is None:
        return None
    return Headline(percent(share), "tell what comes first", "Two subjects are named in the order they appear.")


def _found(metrics: dict[str, Any]) -> Headline | None:
    model, uniform = (dig(metrics, f"retrieval.recall_at_10.{name}") for name in ("model", "uniform"))
    if model is None:
        return None
    told = [f"ten evenly spaced frames: {percent(uniform)}"] if uniform is not None else []
    behind = uniform is not None and uniform >= model
    return Headline(
        percent(model),
        "of the frames that matter are found",
        _sentence("Of all that show what the caption names, among the ten read", told),
        "Evenly spaced frames do as well." if behind else "",
    )


def _ranked(metrics: dict[str, Any]) -> Headline | None:
    if (model := dig(metrics, "likes.spearman.model")) is None:
        return None
    told = [
        f"{PREDICTORS[name]}: {number(value)[:4]}"
        for name in BASELINES
        if (value := dig(metrics, f"likes.spearman.{name}")) is not None
    ]
    return Headline(
        f"{model:.2f}".replace("-", "−"), "rank correlation", _sentence("1 is the true order of likes", told)
    )


def _worded(metrics: dict[str, Any]) -> Headline | None:
    if (overlap := dig(metrics, "captions.rouge_l")) is None:
        return None
    return Headline(percent(overlap), "overlap with the true captions", "ROUGE-L, each against its own post's caption.")


def _sentence(start: str, told: list[str]) -> str:
    return f"{start} ({'; '.join(told)})." if told else f"{start}."
