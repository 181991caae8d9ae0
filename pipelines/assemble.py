"""A language model that a package ships, and towers from nothing -> a checkpoint directory for `model.checkpoint`."""

from pathlib import Path

from m3l.config import Config, ConfigError
from m3l.model.assemble import assemble, packaged
from pipelines.runtime.console import console


def main(config: Config) -> None:
    """Write the directory that `model.checkpoint` names, with towers of `model.tiny`'s sizes."""
    out = config.model.checkpoint
    if out is None or "://" in out:
        raise ConfigError("model.checkpoint: name the local folder to write, as in `m3l assemble OUT`")
    if (Path(out) / "config.json").exists():
        console.print(f"[bold]assemble[/]: done before -> {out}")
        return
    gguf = Path(config.assemble.gguf) if config.assemble.gguf else packaged()
    model = assemble(
        Path(out), gguf, config.model.tiny, config.model.tformer_layers, config.model.head_hidden, config.seed
    )
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    console.print(f"[bold]assemble[/]: {gguf.name}, {millions:,.0f} M parameters with its new towers -> {out}")


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
