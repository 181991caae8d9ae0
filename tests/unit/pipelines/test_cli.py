"""The `m3l` command: its help, its arguments and its error messages."""

import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from m3l.config import Config
from pipelines import cli
from pipelines.verbs import VERBS

ROOT = Path(__file__).parents[3]


def m3l(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "160", "TERM": "dumb"})


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_shows_its_arguments_an_example_and_where_settings_are_documented(name):
    verb, text = VERBS[name], " ".join(m3l(name, "--help").output.split())
    assert verb.summary in text and verb.example in text
    for argument in verb.arguments:
        assert f"[{argument.name}]" in text and argument.meaning in text and argument.field in text
    assert "docs/configuration.md" in text and "--print-config" in text
    assert set(verb.sections) <= Config.model_fields.keys()


@pytest.mark.parametrize(("name", "shown"), [("corpus", {"--posts", "--seed"}), ("serve", {"--media-root"})])
def test_the_help_shows_only_options_that_matter_to_the_verb_but_all_are_accepted(name, shown):
    text = m3l(name, "--help").output
    assert {option for option in ("--posts", "--seed", "--media-root") if option in text} == shown
    result = m3l(name, "--posts", "7", "--seed", "3", "--media-root", "media", "--print-config")
    tree = yaml.safe_load(result.output)
    assert (tree["corpus"]["posts"], tree["seed"], tree["paths"]["media_root"]) == (7, 3, "media")


@pytest.mark.parametrize("name", VERBS)
def test_the_example_of_a_verb_is_valid(name):
    program, verb, *arguments = shlex.split(VERBS[name].example)
    assert (program, verb) == ("m3l", name)
    assert m3l(name, *arguments, "--print-config").exit_code == 0


def test_arguments_and_settings_may_come_in_any_order():
    arguments = ("seed=4", "bundle", "--config", "challenge", "in.csv", "ray.block_rows=8", "out.csv")
    tree = yaml.safe_load(m3l("predict", *arguments, "--print-config").output)
    assert (tree["paths"]["bundle"], tree["predict"]) == ("bundle", {"table": "in.csv", "out": "out.csv"})
    assert (tree["seed"], tree["ray"]["block_rows"]) == (4, 8)


def test_too_many_arguments_are_one_line_that_says_what_the_verb_takes(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.guarded(lambda: cli.app(["serve", "bundle", "other"], standalone_mode=False))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "m3l: m3l serve takes BUNDLE; 'other' is neither that nor section.field=value\n"


def test_the_version_is_the_one_in_pyproject():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert m3l("--version").output == f"m3l {version}\n"
