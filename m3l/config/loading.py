"""From a preset or a file, and dotted overrides, to the tree of settings; a mistake is one line."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from m3l.config.base import ConfigError
from m3l.config.tree import Config


def load(preset_or_file: str = "tiny", overrides: "list[str] | tuple[str, ...]" = ()) -> Config:
    """The configuration of a preset name or a YAML file, with `section.field=value` overrides.

    Raises ConfigError, in one line that names the field and the fix.
    """
    path = Path(preset_or_file)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigError(f"no configuration file {path}")
        text = path.read_text()
    else:
        known = sorted(f.name[:-5] for f in resources.files("m3l.presets").iterdir() if f.name.endswith(".yaml"))
        if preset_or_file not in known:
            raise ConfigError(f"no preset {preset_or_file!r}: use one of {', '.join(known)}, or a .yaml file")
        text = resources.files("m3l.presets").joinpath(f"{preset_or_file}.yaml").read_text()
    return parse(text, overrides)


def parse(text: str, overrides: "list[str] | tuple[str, ...]" = ()) -> Config:
    """The configuration of a YAML text; raises ConfigError."""
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError("a configuration is a mapping of sections, e.g. `train: {epochs: 3}`")
    for item in overrides:
        _set(tree, item)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        # A mistyped field explains one that is missing.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {_explain(first)}") from None


def override(config: Config, changes: dict[str, Any]) -> Config:
    """A copy of the configuration with dotted fields changed; raises ConfigError."""
    return parse(config.to_yaml(), [f"{field}={yaml.safe_dump(value).strip()}" for field, value in changes.items()])


def anchored(config: Config) -> Config:
    """The configuration with its local paths absolute: workers run in folders of their own."""
    paths = {name: _absolute(value) for name, value in config.paths.model_dump().items() if value is not None}
    predict = {name: _absolute(value) for name, value in config.predict.model_dump().items() if value is not None}
    changes = {"paths": config.paths.model_copy(update=paths), "predict": config.predict.model_copy(update=predict)}
    checkpoint = config.model.checkpoint
    if checkpoint and Path(checkpoint).is_dir():  # else a name on a hub
        changes["model"] = config.model.model_copy(update={"checkpoint": _absolute(checkpoint)})
    return config.model_copy(update=changes)


def _absolute(path: str) -> str:
    return path if "://" in path or path.startswith("{run}") else str(Path(path).expanduser().absolute())


def _set(tree: dict[str, Any], item: str) -> None:
    field, equals, value = item.partition("=")
    if not equals or not field:
        raise ConfigError(f"{item!r} is not an override: write section.field=value")
    *sections, leaf = field.strip().split(".")
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
        if part in section.model_fields:  # else a place in a tuple or a mapping, or which kind of several
            section = next(k for k in _kinds(section.model_fields[part].annotation) if hasattr(k, "model_fields"))
    return f"no such field; known here: {', '.join(section.model_fields)}"


def _kinds(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of: `X | None`, `tuple[X]`, `dict[str, X]`."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)
