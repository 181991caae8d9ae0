"""The `m3l` command: every verb, with one clear line instead of a traceback when it cannot do its job."""

import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from m3l.config import Config, ConfigError, anchored, load

VERBS = {
    "corpus": "Draw the synthetic corpus with known truth: media, table, truth.",
    "ingest": "Read the challenge's table (csv, xlsx, jsonl, parquet) into posts.",
    "history": "Tell of each post what was known of its account before it.",
    "frames": "Sample and distil every media file into key frames.",
    "train-retriever": "Train CLIP to find a post's frames from its metadata.",
    "compare-retrievers": "Train retrievers with other losses, on several seeds, and compare what they find.",
    "retrieve": "Keep the frames that fit each post and task.",
    "assemble": "Make a checkpoint of a packaged language model and towers from nothing.",
    "plan": "Say what training a checkpoint takes: parameters, memory of each GPU, FLOPs, time. Loads nothing.",
    "train": "Train M3L into a bundle.",
    "tune": "Sweep fields of the configuration.",
    "evaluate": "Measure a bundle on held-out posts and write the report.",
    "predict": "Predict likes and captions for a table of posts.",
    "export": "Write a bundle's model, adapters merged, as a directory that transformers loads.",
    "serve": "Serve a bundle over HTTP.",
    "demo": "The whole way on one machine, from a synthetic corpus to a served bundle.",
}
ARGUMENTS = {  # positional arguments of a verb, and the dotted field that each one sets
    "corpus": ("paths.corpus",),
    "ingest": ("ingest.table", "paths.posts"),
    "predict": ("paths.bundle", "predict.table", "predict.out"),
    "assemble": ("model.checkpoint",),
    "export": ("paths.bundle", "export.out"),
    "serve": ("paths.bundle",),
}
HELP = "Predict a post's likes and write its caption: Multi-Modal Masked Learning on Ray."

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Arguments = Annotated[list[str] | None, typer.Argument(help="arguments of the verb, then section.field=value ...")]
ConfigOption = Annotated[str, typer.Option("--config", help="a preset (tiny, ...) or a .yaml file")]
Posts = Annotated[int | None, typer.Option(help="corpus.posts")]
Seed = Annotated[int | None, typer.Option(help="seed")]
MediaRoot = Annotated[str | None, typer.Option(help="paths.media_root")]
Print = Annotated[bool, typer.Option("--print-config", help="print the configuration, do nothing")]


def _command(verb: str) -> Callable[..., None]:
    def command(
        arguments: Arguments = None,
        config: ConfigOption = "tiny",
        posts: Posts = None,
        seed: Seed = None,
        media_root: MediaRoot = None,
        print_config: Print = False,
    ) -> None:
        given = {"corpus.posts": posts, "seed": seed, "paths.media_root": media_root}
        overrides = [f"{field}={value}" for field, value in given.items() if value is not None]
        tree = load(config, overrides + assign(verb, list(arguments or [])))
        if print_config:
            typer.echo(tree.to_yaml(), nl=False)
            return
        importlib.import_module(f"pipelines.{verb.replace('-', '_')}").main(anchored(tree))

    return command


for _verb, _help in VERBS.items():
    app.command(_verb, help=_help)(_command(_verb))


def assign(verb: str, arguments: list[str]) -> list[str]:
    """The overrides that a verb's positional arguments and `section.field=value` stand for; ConfigError."""
    plain = [a for a in arguments if "=" not in a]
    names = ARGUMENTS.get(verb, ())
    if len(plain) > len(names):
        expected = " ".join(name.split(".")[-1].upper() for name in names) or "no arguments"
        raise ConfigError(f"m3l {verb} takes {expected}; {plain[len(names)]!r} is neither that nor section.field=value")
    return [f"{n}={a}" for n, a in zip(names, plain, strict=False)] + [a for a in arguments if "=" in a]


def guarded(action: Callable[[], Any]) -> None:
    """Run an action; a person's mistake ends in one line on standard error and exit code 2."""
    try:
        action()
    except ConfigError as error:
        typer.echo(f"m3l: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("m3l: interrupted; the same command goes on from here", err=True)
        sys.exit(130)


def run(main: Callable[[Config], Any]) -> None:
    """The entry point of `python -m pipelines.VERB --config PRESET [section.field=value ...]`."""
    verb = sys.modules[main.__module__].__spec__.name.rpartition(".")[2].replace("_", "-")  # type: ignore[union-attr]
    guarded(lambda: app([verb, *sys.argv[1:]], prog_name="m3l", standalone_mode=True))


def main() -> None:
    guarded(app)
