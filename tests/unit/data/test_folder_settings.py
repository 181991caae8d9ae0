"""A folder holds rows of one set of settings."""

from pathlib import Path

import pytest

from m3l.config import ConfigError
from m3l.data.folder_settings import check_settings, read_settings


def test_settings_are_saved_once_and_then_compared(tmp_path: Path) -> None:
    folder = str(tmp_path / "rows")
    assert read_settings(folder) is None
    for _ in range(2):
        check_settings(folder, {"seed": 1, "stride_s": 0.5})
        assert read_settings(folder) == {"seed": 1, "stride_s": 0.5}


def test_other_settings_are_an_error_that_names_what_changed(tmp_path: Path) -> None:
    folder = str(tmp_path)
    check_settings(folder, {"seed": 1, "same": 0, "removed": 1})
    with pytest.raises(ConfigError, match=r"made with other settings \(added, removed, seed\): remove it"):
        check_settings(folder, {"seed": 2, "same": 0, "added": 1})
    assert read_settings(folder) == {"seed": 1, "same": 0, "removed": 1}
