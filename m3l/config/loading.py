"""Loads the settings: a preset or a YAML file, what it extends, and dotted overrides."""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from m3l.config.base import ConfigError
from m3l.config.deprecated import current_name, reject_both_names, with_current_names
from m3l.config.tree import Config

MAPPINGS = {"space"}  # fields whose value is a mapping: replaced as a whole, not merged like a section


def load(preset_or_file: str = "tiny", overrides: Sequence[str] = ()) -> Config:
    """The configuration of a preset or a YAML file.

    Args:
        preset_or_file: Name of a preset, or path of a `.yaml` file.
        overrides: `section.field=value`, applied in order.

    Raises:
        ConfigError: One line that names the field and the fix.
    """
    return _validated(_extended(preset_or_file, Path()), overrides)


def parse(text: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a YAML text; raises ConfigError.

    Args:
        text: A mapping of sections; `extends` may name a preset or a file.
        overrides: `section.field=value`, applied in order.
    """
    return _validated(_resolve(_mapping(text), Path(), ()), overrides)


def _validated(tree: dict[str, Any], overrides: Sequence[str]) -> Config:
    reject_both_names(item.partition("=")[0].strip() for item in overrides)
    for item in overrides:
        _set(tree, item)
        tree = with_current_names(tree)  # an override can set a whole section
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        # A mistyped field explains one that is missing.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {_explain(first)}") from None


def _extended(name: str, folder: Path, chain: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tree of a preset or of a file relative to `folder`, with what it extends; `chain` holds who extends it."""
    path = folder / name
    if path.suffix not in {".yaml", ".yml"}:
        presets = resources.files("m3l.presets")
        names = sorted(f.name[:-5] for f in presets.iterdir() if f.name.endswith(".yaml"))
        if name not in names:
            raise ConfigError(f"no preset {name!r}: use one of {', '.join(names)}, or a .yaml file")
        key, text = name, presets.joinpath(f"{name}.yaml").read_text()
    elif path.is_file():
        key, text = str(path.resolve()), path.read_text()
    else:
        raise ConfigError(f"no configuration file {path}")
    if key in chain:
        raise ConfigError(f"extends: {' extends '.join((*chain, key))}, a loop")
    return _resolve(_mapping(text), path.parent, (*chain, key))


def _resolve(tree: dict[str, Any], folder: Path, chain: tuple[str, ...]) -> dict[str, Any]:
    """The tree merged into what it extends: sections field by field, everything else replaced."""
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise ConfigError("extends: name a preset or a .yaml file")
    return _merged(_extended(base, folder, chain), tree)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        is_section = isinstance(below, dict) and isinstance(value, dict) and name not in MAPPINGS
        merged[name] = _merged(merged[name], value) if is_section else value
    return merged


def _mapping(text: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError("a configuration is a mapping of sections, e.g. `train: {epochs: 3}`")
    return with_current_names(tree)


def override(config: Config, changes: dict[str, Any]) -> Config:
    """A copy of the configuration with other values for some dotted fields; raises ConfigError."""
    return parse(config.to_yaml(), [f"{field}={yaml.safe_dump(value).strip()}" for field, value in changes.items()])


def anchored(config: Config) -> Config:
    """The configuration with absolute local paths, since Ray's workers run in other folders."""
    paths = {name: _absolute(value) for name, value in config.paths.model_dump().items() if value is not None}
    predict = {name: _absolute(value) for name, value in config.predict.model_dump().items() if value is not None}
    changes = {"paths": config.paths.model_copy(update=paths), "predict": config.predict.model_copy(update=predict)}
    checkpoint = config.model.checkpoint
    if checkpoint and Path(checkpoint).is_dir():  # else it is the name of a repository on the hub
        changes["model"] = config.model.model_copy(update={"checkpoint": _absolute(checkpoint)})
    return config.model_copy(update=changes)


def _absolute(path: str) -> str:
    return path if "://" in path or path.startswith("{run}") else str(Path(path).expanduser().absolute())


def _set(tree: dict[str, Any], item: str) -> None:
    field, equals, value = item.partition("=")
    if not equals or not field:
        raise ConfigError(f"{item!r} is not an override: write section.field=value")
    *sections, leaf = current_name(field.strip()).split(".")
    for name in sections:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{field}: {name} is not a section")
    try:
        tree[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"{field}: {value!r} is not a YAML value") from None


def _explain(error: Any) -> str:
    if error["type"] != "extra_forbidden":
        return str(error["msg"])
    section: Any = Config
    for part in error["loc"][:-1]:
        if part in section.model_fields:  # else an index, a key, or the tag of a union
            section = next(k for k in _kinds(section.model_fields[part].annotation) if hasattr(k, "model_fields"))
    return f"no such field; the fields here are {', '.join(section.model_fields)}"


def _kinds(annotation: Any) -> Iterator[Any]:
    """An annotation and, recursively, its type arguments, as in `dict[str, X | None]`."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)
