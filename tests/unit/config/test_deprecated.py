"""Renamed fields: the old names load like the new ones, each with one warning."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from m3l.config import Config, ConfigError, load, override, parse
from m3l.config.deprecated import RENAMED_FIELDS
from m3l.data import folder_settings, storage

OLD_YAML = """
train: {warmup_epochs: 2, warmup_frames: 4, warmup_tasks: false, warmup_mse_weight: 0.5, warmup_share: 0.1, epochs: 5}
tune: {space: {train.warmup_share: [0.1, 0.2], train.lr: [0.1]}}
"""


def test_an_old_file_loads_like_a_new_one_with_one_warning_for_each_old_name() -> None:
    with pytest.warns(FutureWarning) as caught:
        config = parse(OLD_YAML)
    new_yaml = OLD_YAML
    for old, new in RENAMED_FIELDS.items():
        new_yaml = new_yaml.replace(old.removeprefix("train."), new.removeprefix("train."))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config == parse(new_yaml)
    assert (config.train.alignment_epochs, config.train.lr_warmup_share) == (2, 0.1)
    assert list(config.tune.space) == ["train.lr_warmup_share", "train.lr"]  # in their order, which decides the trials
    assert {str(warning.message) for warning in caught} == {
        f"{old} is deprecated, write {new}" for old, new in RENAMED_FIELDS.items()
    }


@pytest.mark.parametrize("item", ["train.warmup_epochs=3", "train={warmup_epochs: 3}"])
def test_an_old_name_on_the_command_line_overrides_the_preset(item: str) -> None:
    with pytest.warns(FutureWarning, match=r"train\.warmup_epochs is deprecated, write train\.alignment_epochs"):
        assert load("tiny", [item]).train.alignment_epochs == 3


def test_an_old_name_in_a_swept_space_given_on_the_command_line_is_renamed() -> None:
    with pytest.warns(FutureWarning, match=r"train\.warmup_epochs"):
        config = load("tiny", ["tune.space={train.warmup_epochs: [1, 2]}"])
    assert config.tune.space == {"train.alignment_epochs": [1, 2]}


def test_an_old_name_can_be_changed_in_a_copy() -> None:
    with pytest.warns(FutureWarning):
        assert override(Config(), {"train.warmup_frames": 5}).train.alignment_frames == 5


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("train: {warmup_epochs: 2, alignment_epochs: 2}", []),
        ("", ["train.warmup_epochs=1", "train.alignment_epochs=2"]),
        ("tune: {space: {train.warmup_epochs: [1], train.alignment_epochs: [2]}}", []),
    ],
)
def test_both_names_of_a_field_at_once_are_an_error(text: str, overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"train\.warmup_epochs is the old name of train\.alignment_epochs: remove"):
        parse(text, overrides)


def test_a_folder_that_was_filled_under_the_old_names_still_matches(tmp_path: Path) -> None:
    storage.write_json(f"{tmp_path}/{folder_settings.SETTINGS}", {"seed": 0, "train": {"warmup_epochs": 2}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder_settings.check_settings(str(tmp_path), {"seed": 0, "train": {"alignment_epochs": 2}})
    with pytest.raises(ConfigError, match="other settings"):
        folder_settings.check_settings(str(tmp_path), {"seed": 0, "train": {"alignment_epochs": 3}})


def test_a_user_sees_one_line_for_each_old_name() -> None:
    program = "from m3l.config import load; [load('tiny', ['train.warmup_epochs=1', 'train.warmup_share=0.1'])] * 2"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [line.partition("FutureWarning: ")[2] for line in ended.stderr.splitlines()] == [
        "train.warmup_epochs is deprecated, write train.alignment_epochs",
        "train.warmup_share is deprecated, write train.lr_warmup_share",
    ]
