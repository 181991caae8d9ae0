"""The `m3l` command. A user's mistake ends in one clear line instead of a traceback."""

import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from m3l.config import Config, ConfigError, anchored, load
from pipelines.verbs import VERBS, Verb

HELP = "Predict a post's likes and write its caption: Multi-Modal Masked Learning on Ray."
OPTIONS = {  # option -> (type, the field that it sets, help)
    "posts": (int, "corpus.posts", "number of posts to generate"),
    "seed": (int, "seed", "seed of all random draws"),
    "media_root": (str, "paths.media_root", "folder in which relative media paths are looked up"),
}

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"m3l {version('m3l')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _command(name: str, verb: Verb) -> Callable[..., None]:
    def command(config: str, print_config: bool, overrides: list[str] | None, **values: Any) -> None:
        positional = [values[a.field.replace(".", "_")] for a in verb.arguments]
        fields = [f"{OPTIONS[option][1]}={values[option]}" for option in OPTIONS if values[option] is not None]
        tree = load(config, fields + assign(name, [p for p in (*positional, *(overrides or ())) if p is not None]))
        if print_config:
            typer.echo(tree.to_yaml(), nl=False)
            return
        importlib.import_module(f"pipelines.{name.replace('-', '_')}").main(anchored(tree))

    command.__signature__ = inspect.Signature(_parameters(verb))  # type: ignore[attr-defined]
    command.__annotations__ = {}  # typer reads the signature
    return command


def _parameters(verb: Verb) -> list[inspect.Parameter]:
    """The parameters of a verb's command: its arguments, any overrides, its options."""

    def parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    parameters = [
        parameter(
            argument.field.replace(".", "_"),
            Annotated[
                str | None,
                typer.Argument(
                    metavar=argument.name, show_default=False, help=f"{argument.meaning} (sets {argument.field})"
                ),
            ],
        )
        for argument in verb.arguments
    ]
    overrides = typer.Argument(
        metavar="SECTION.FIELD=VALUE", show_default=False, help="settings to change, as many as needed"
    )
    parameters.append(parameter("overrides", Annotated[list[str] | None, overrides]))
    config = typer.Option("--config", help="a preset (tiny, challenge, ...) or a .yaml file")
    parameters.append(parameter("config", Annotated[str, config], "tiny"))
    for name, (kind, field, text) in OPTIONS.items():
        option = typer.Option(f"--{name.replace('_', '-')}", hidden=name not in verb.options, help=f"{text} ({field})")
        parameters.append(parameter(name, Annotated[kind | None, option]))
    show = typer.Option("--print-config", help="print the configuration and exit")
    parameters.append(parameter("print_config", Annotated[bool, show], False))
    return parameters


def _help(name: str, verb: Verb) -> str:
    sections = ", ".join(verb.sections)
    return (
        f"{verb.summary}\n\n\b\nExample:\n  {verb.example}\n\n"
        f"Settings that matter here: {sections}. docs/configuration.md describes every field; "
        f"`m3l {name} --print-config` prints the values in use."
    )


for _name, _verb in VERBS.items():
    app.command(_name, help=_help(_name, _verb), short_help=_verb.summary)(_command(_name, _verb))


def assign(name: str, arguments: list[str]) -> list[str]:
    """Turn a verb's positional arguments into overrides.

    Args:
        name: The verb.
        arguments: Positional arguments and `section.field=value` overrides, in any order.

    Returns:
        Overrides only.

    Raises:
        ConfigError: There are more positional arguments than the verb takes.
    """
    plain = [argument for argument in arguments if "=" not in argument]
    fields = [argument.field for argument in VERBS[name].arguments]
    if len(plain) > len(fields):
        expected = " ".join(argument.name for argument in VERBS[name].arguments) or "no arguments"
        raise ConfigError(
            f"m3l {name} takes {expected}; {plain[len(fields)]!r} is neither that nor section.field=value"
        )
    overrides = [argument for argument in arguments if "=" in argument]
    return [f"{field}={value}" for field, value in zip(fields, plain, strict=False)] + overrides


def guarded(action: Callable[[], Any]) -> None:
    """Run an action; a ConfigError ends the process with one line on standard error and exit code 2."""
    try:
        action()
    except ConfigError as error:
        typer.echo(f"m3l: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("m3l: interrupted; run the same command again to continue", err=True)
        sys.exit(130)


def run(main: Callable[[Config], Any]) -> None:
    """The entry point of `python -m pipelines.VERB --config PRESET [section.field=value ...]`."""
    name = sys.modules[main.__module__].__spec__.name.rpartition(".")[2].replace("_", "-")  # type: ignore[union-attr]
    guarded(lambda: app([name, *sys.argv[1:]], prog_name="m3l", standalone_mode=True))


def main() -> None:
    """The entry point of the command `m3l`."""
    guarded(app)
