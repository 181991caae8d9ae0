"""Fields that have been renamed: their old names still load, each with a warning."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from m3l.config.base import ConfigError

RENAMED_FIELDS = {  # old dotted name -> new dotted name, in the same section
    "train.warmup_epochs": "train.alignment_epochs",
    "train.warmup_frames": "train.alignment_frames",
    "train.warmup_tasks": "train.alignment_tasks",
    "train.warmup_mse_weight": "train.alignment_mse_weight",
    "train.warmup_share": "train.lr_warmup_share",
}
_shown: dict[Any, Any] = {}  # the registry by which Python shows each warning once


def current_name(field: str, *, warn: bool = True) -> str:
    """The name of a dotted field today; a FutureWarning says so if `field` is an old name."""
    if field not in RENAMED_FIELDS:
        return field
    if warn:
        message = f"{field} is deprecated, write {RENAMED_FIELDS[field]}"
        # Not `warnings.warn`, which would show a line of this file in place of the user's settings.
        warnings.warn_explicit(message, FutureWarning, "m3l configuration", 1, registry=_shown)
    return RENAMED_FIELDS[field]


def with_current_names(tree: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """A copy of the settings in which renamed fields have their new names.

    Args:
        tree: Sections of the configuration, as YAML gives them. Keys of `tune.space` are dotted fields, too.
        warn: Whether each old name is a FutureWarning.

    Raises:
        ConfigError: A field is set by both of its names.
    """
    current = dict(tree)
    for section in {old.partition(".")[0] for old in RENAMED_FIELDS}:
        if isinstance(fields := current.get(section), Mapping):
            current[section] = _renamed(fields, f"{section}.", warn)
    tune = current.get("tune")
    if isinstance(tune, Mapping) and isinstance(space := tune.get("space"), Mapping):
        current["tune"] = {**tune, "space": _renamed(space, "", warn)}
    return current


def reject_both_names(fields: Iterable[str]) -> None:
    """Raise ConfigError if both names of a renamed field are among the dotted fields."""
    names = set(fields)
    for old, new in RENAMED_FIELDS.items():
        if old in names and new in names:
            raise ConfigError(f"{old} is the old name of {new}: remove it")


def _renamed(fields: Mapping[str, Any], prefix: str, warn: bool) -> dict[str, Any]:
    reject_both_names(f"{prefix}{name}" for name in fields)
    return {current_name(f"{prefix}{name}", warn=warn).removeprefix(prefix): value for name, value in fields.items()}
