"""bundle/ -> a plain model directory: adapters merged, in InstructBLIP's format."""

from pathlib import Path

from m3l.config import Config, ConfigError
from m3l.inference import bundle
from m3l.model.hf_export import export_checkpoint
from pipelines.runtime.console import console


def main(config: Config) -> None:
    """Write the bundle's model to `export.out`, a local folder that is new or empty.

    Raises:
        ConfigError: There is no bundle, or `export.out` is not such a folder.
    """
    out = config.export.out
    if out is None or "://" in out:
        raise ConfigError("export.out: name a local folder, as in `m3l export BUNDLE OUT`")
    if Path(out).exists() and any(Path(out).iterdir()):
        raise ConfigError(f"export.out: {out} is not empty")
    trained = bundle.load(config.paths.of("bundle"))
    export_checkpoint(trained.model, trained.processor, trained.config.model, Path(out))
    size = sum(path.stat().st_size for path in Path(out).iterdir())
    console.print(f"[bold]export[/]: {size / 1e6:,.0f} MB, adapters merged -> {out}")


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
