"""What every section of the settings is: frozen, and strict about its fields."""

from pydantic import BaseModel, ConfigDict


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the field and the fix."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
