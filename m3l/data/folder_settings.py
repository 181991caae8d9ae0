"""The settings that a folder of parts was written with: a stage never mixes rows of two settings in one folder."""

from typing import Any

from m3l.config import ConfigError
from m3l.config.deprecated import with_current_names
from m3l.data import storage

SETTINGS = "_settings.json"


def read_settings(folder: str) -> Any:
    """The settings that a folder was written with, or None if it has none."""
    return storage.read_json(f"{folder}/{SETTINGS}")


def check_settings(folder: str, settings: dict[str, Any]) -> None:
    """Save the settings of a folder, or compare them with those that it was written with.

    Args:
        folder: A local folder or an `s3://` URI; it may be missing.
        settings: JSON values by name: everything that decides what the folder's rows are.

    Raises:
        ConfigError: The folder was written with other settings.
    """
    saved = read_settings(folder)
    if saved is None:
        storage.write_json(f"{folder}/{SETTINGS}", settings)
        return
    saved = with_current_names(saved, warn=False)  # written before a field was renamed
    if saved != settings:
        changed = sorted(k for k in saved.keys() | settings.keys() if saved.get(k) != settings.get(k))
        raise ConfigError(f"{folder} was made with other settings ({', '.join(changed)}): remove it or name another")
